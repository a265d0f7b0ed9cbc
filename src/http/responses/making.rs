//! A response being made: the answer of the conversation, or of the model alone, becomes events and at last the object.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::access::Caller;
use crate::app::App;
use crate::conversation::{AnswerSink, CallerCalls, Completion, Outcome, PendingAnswer, passthrough_prompt};
use crate::http::chat::buffered::Buffered;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::request_id::RequestId;
use crate::http::responses::live::LiveGuard;
use crate::http::responses::object::ResponseBuilder;
use crate::http::responses::record::Record;
use crate::http::sse;
use crate::id::OperationId;
use crate::llm::chunk::ChunkAssembler;
use crate::llm::{Chunk, LlmError, Model};

/// How often an operation is looked at that a response in the background waits for.
const LOOK: Duration = Duration::from_secs(1);

/// What an answer comes from.
pub enum Work {
    /// The conversation.
    Answer(Box<PendingAnswer>),
    /// The model alone, which is yet to be asked.
    Whole(Model, Map<String, Value>),
    /// The model alone, which has begun.
    Chunks(BoxStream<'static, Result<Chunk, LlmError>>),
}

impl Work {
    /// Whether it goes on until somebody leaves.
    #[must_use]
    pub fn is_endless(&self) -> bool {
        match self {
            Self::Answer(answer) => answer.is_endless(),
            Self::Whole(..) | Self::Chunks(_) => false,
        }
    }
}

/// One response that is being made.
pub struct Making {
    /// The app.
    pub app: App,
    /// Who asks.
    pub caller: Caller,
    /// The request that began it.
    pub request_id: RequestId,
    /// What it has become so far.
    pub builder: ResponseBuilder,
    /// Those who follow it.
    pub guard: LiveGuard,
    /// Where it is kept.
    pub record: Option<Record>,
    /// It goes on without anybody who waits.
    pub background: bool,
    /// It is told while it is made.
    pub streaming: bool,
}

impl Making {
    /// Makes it to its end and gives the object.
    ///
    /// # Errors
    /// [`ApiError`] when there is no answer.
    pub async fn whole(mut self, work: Work) -> Result<Value, ApiError> {
        let completion = Box::pin(self.render(work)).await?;
        self.builder.complete(completion, Timestamp::now().as_second());
        if let Some(mut record) = self.record.take() {
            record.put(&self.app, &self.caller, &self.builder).await?;
        }
        Ok(self.builder.object())
    }

    /// Says that it begins, and keeps that.
    ///
    /// # Errors
    /// [`ApiError`] when it cannot be kept.
    pub async fn begin(&mut self) -> Result<(), ApiError> {
        self.builder.begin();
        if let Some(record) = &mut self.record {
            record.insert(&self.app, &self.caller, &self.builder).await?;
        }
        self.tell();
        Ok(())
    }

    /// Makes one that has begun to its end; whoever follows it hears of everything, also of a fault.
    pub async fn tell_all(mut self, work: Work) {
        let live = Arc::clone(self.guard.live());
        let abort = live.abort.clone();
        let rendered = tokio::select! {
            rendered = sse::caught(Box::pin(self.render_to_end(work))) => rendered,
            () = abort.cancelled() => Ok(Some(Completion::default())),
        };
        // Its end is told by the next server, or by whoever looks at it there.
        let ends_here = !(self.background && self.app.is_shutting_down());
        let _writing = live.writing.lock().await;
        if live.is_cancelled.load(Ordering::Relaxed) {
            self.builder.set_cancelled();
        }
        match rendered {
            Ok(Some(completion)) => self.builder.complete(completion, Timestamp::now().as_second()),
            Err(error) if ends_here => self.builder.fail(&error.body(self.request_id.as_str())),
            Ok(None) | Err(_) => return,
        }
        if let Some(record) = &mut self.record
            && let Err(error) = record.update(&self.app, &self.caller, &self.builder).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the end of a response is not kept");
        }
        self.tell();
    }

    /// Ends one that has begun with a fault.
    ///
    /// # Errors
    /// [`ApiError`] when that cannot be kept.
    pub async fn fail(mut self, error: &ErrorBody) -> Result<(), ApiError> {
        self.builder.fail(error);
        if let Some(record) = &mut self.record {
            record.update(&self.app, &self.caller, &self.builder).await?;
        }
        self.tell();
        Ok(())
    }

    /// The operations that it tells of.
    #[must_use]
    pub fn operations(&self) -> &[OperationId] {
        self.record.as_ref().map(Record::operations).unwrap_or_default()
    }

    /// Renders, and in the background waits for the end of the operation, whatever it waits for itself; nothing when the
    /// server stops before.
    async fn render_to_end(&mut self, work: Work) -> Result<Option<Completion>, ApiError> {
        let completion = self.render(work).await?;
        let Some((id, state)) = completion.operation.filter(|_| self.background) else { return Ok(Some(completion)) };
        if state.is_ended() {
            return Ok(Some(completion));
        }
        let stop = self.app.shutdown_token();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => (),
                () = stop.cancelled() => return Ok(None),
            }
            match self.app.operation(&self.caller, id).await? {
                Some(operation) if !operation.state.is_ended() => (),
                Some(_) | None => break,
            }
        }
        let mut summary = Buffered::default();
        let outcome = PendingAnswer::Outcome(Outcome::Operation(id));
        let completion = Box::pin(outcome.render(&self.app, &self.caller, &mut summary)).await?;
        self.write(format!("\n\n{}", summary.text)).await;
        Ok(Some(completion))
    }

    async fn render(&mut self, work: Work) -> Result<Completion, ApiError> {
        match work {
            Work::Answer(answer) => {
                let (app, caller) = (self.app.clone(), self.caller.clone());
                Ok(Box::pin(answer.render(&app, &caller, self)).await?)
            }
            Work::Whole(model, body) => {
                let answer = model.complete(&passthrough_prompt(&model, &body)).await?;
                let content = answer.message.get("content").and_then(Value::as_str).unwrap_or_default();
                if content.is_empty() {
                    self.builder.refuse(answer.text());
                } else {
                    self.builder.write(content);
                }
                self.tell();
                let calls = answer.tool_calls();
                Ok(of_model(Some(answer.finish_reason), answer.usage, calls))
            }
            Work::Chunks(mut chunks) => {
                let mut assembler = ChunkAssembler::default();
                while let Some(chunk) = chunks.next().await {
                    let chunk = chunk?;
                    let refuses = chunk.delta.get("refusal").is_some_and(Value::is_string);
                    let text = assembler.take(&chunk);
                    if refuses {
                        self.builder.refuse(&text);
                        self.tell();
                    } else {
                        self.write(text).await;
                    }
                }
                let answer = assembler.finish();
                let calls = answer.tool_calls();
                Ok(of_model(Some(answer.finish_reason), answer.usage, calls))
            }
        }
    }

    fn tell(&mut self) {
        self.guard.live().push(self.builder.take_events());
    }
}

fn of_model(
    finish_reason: Option<String>,
    usage: Option<crate::llm::Usage>,
    calls: Vec<crate::llm::ToolCall>,
) -> Completion {
    let caller_calls = (!calls.is_empty()).then_some(CallerCalls::Tools(calls));
    Completion { finish_reason, usage, caller_calls, ..Completion::default() }
}

impl AnswerSink for Making {
    fn is_streaming(&self) -> bool {
        self.streaming
    }

    fn has_content(&self) -> bool {
        self.builder.has_content()
    }

    async fn write(&mut self, text: String) {
        self.builder.write(&text);
        self.tell();
        // A log that is followed has no end of its own.
        if self.builder.is_full() {
            self.guard.live().abort.cancel();
        }
    }

    async fn status(&mut self, _: Option<&str>) {}

    async fn operation(&mut self, id: OperationId) {
        let Some(record) = self.record.as_mut().filter(|_| self.streaming) else { return };
        if let Err(error) = record.add_operation(&self.app, &self.caller, id).await {
            tracing::warn!(error = &error as &dyn std::error::Error, op.id = %id, "an operation of a response is not kept");
        }
    }
}
