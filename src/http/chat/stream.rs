//! An answer in chunks: progress as it happens, the same words at the end, `[DONE]`.
//!
//! The work is a task of its own, so that a client that does not read makes it wait only where it hands something over,
//! never in the middle of a look at the store, whose connection others need. It ends with the body of the response: when
//! the client leaves, it is dropped. The operation goes on.

use std::future::Future;

use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event as SseEvent;
use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::access::Caller;
use crate::app::App;
use crate::conversation::{AnswerSink, CallerCalls, Completion, PendingAnswer};
use crate::http::chat::request::ChatRequest;
use crate::http::chat::stored::Keeper;
use crate::http::chat::wire::{ChatCompletion, ChatCompletionChunk, CompletionMeta, UsageObject};
use crate::http::chat::{open_webui, passthrough};
use crate::http::error::ApiError;
use crate::http::limit::{OpenStream, Streams};
use crate::http::request_id::RequestId;
use crate::http::sse;
use crate::llm::chunk::ChunkAssembler;
use crate::llm::{Chunk as LlmChunk, LlmError};

/// What a stream needs before anything is known about its answer.
pub struct StreamResponder {
    open: OpenStream,
    request_id: RequestId,
    include_usage: bool,
    shows_status: bool,
    keeper: Option<Keeper>,
}

impl StreamResponder {
    /// Takes a place among the open streams.
    ///
    /// # Errors
    /// [`ApiError::TooManyStreams`] when there is none.
    pub fn open(
        streams: &Streams,
        chat: &ChatRequest,
        headers: &HeaderMap,
        request_id: RequestId,
    ) -> Result<Self, ApiError> {
        let (include_usage, shows_status) = (chat.include_usage, open_webui::shows_status(headers));
        Ok(Self { open: streams.open()?, request_id, include_usage, shows_status, keeper: None })
    }

    /// Keeps the answer, too.
    #[must_use]
    pub fn keeping(self, keeper: Option<Keeper>) -> Self {
        Self { keeper, ..self }
    }

    /// Answers with what there is to say, as it is said.
    #[must_use]
    pub fn respond(self, meta: CompletionMeta, app: App, caller: Caller, answer: PendingAnswer) -> Response {
        self.stream_response(meta, move |mut sink| async move {
            let completion = Box::pin(answer.render(&app, &caller, &mut sink)).await?;
            sink.status(None).await;
            sink.finish(completion).await
        })
    }

    /// Answers with what the model says, as it says it.
    #[must_use]
    pub fn passthrough(
        self,
        meta: CompletionMeta,
        answer: impl Stream<Item = Result<LlmChunk, LlmError>> + Send + 'static,
    ) -> Response {
        self.stream_response(meta, move |mut sink| async move {
            let mut answer = std::pin::pin!(answer);
            let mut completion = Completion::default();
            while let Some(chunk) = answer.next().await {
                let LlmChunk { delta, finish_reason, logprobs, usage } = chunk?;
                completion.usage = usage.or(completion.usage);
                completion.finish_reason = finish_reason.or(completion.finish_reason);
                if let Some(delta) = passthrough::forwarded_delta(delta) {
                    sink.forward(delta, logprobs).await;
                }
            }
            sink.finish(completion).await
        })
    }

    /// Runs the work for as long as the body is there. A fault in mid-stream becomes a frame with the error object.
    fn stream_response<W, F>(self, meta: CompletionMeta, work: W) -> Response
    where
        W: FnOnce(ChunkSink) -> F + Send + 'static,
        F: Future<Output = Result<(), ApiError>> + Send + 'static,
    {
        let (frames, received) = mpsc::channel(16);
        let request_id = self.request_id;
        let sink = ChunkSink {
            frames: frames.clone(),
            meta,
            include_usage: self.include_usage,
            shows_status: self.shows_status,
            has_content: false,
            length: 0,
            status: None,
            kept: self.keeper.map(|it| (it, ChunkAssembler::default())),
        };
        let work = async move {
            sink.send(&ChatCompletionChunk::role(&sink.meta, sink.include_usage)).await;
            let last = match sse::caught(work(sink)).await {
                Ok(()) => sse::done(),
                Err(error) => sse::data(&error.body(request_id.as_str())),
            };
            // The receiver is gone only when the client is.
            let _ = frames.send(last).await;
        };
        let work = AbortOnDropHandle::new(tokio::spawn(work.in_current_span()));
        let frames = ReceiverStream::new(received).map(move |frame| {
            let _ = &work;
            frame
        });
        sse::respond(frames, self.open)
    }
}

/// Writes the chunks of one answer.
struct ChunkSink {
    frames: mpsc::Sender<SseEvent>,
    meta: CompletionMeta,
    include_usage: bool,
    shows_status: bool,
    has_content: bool,
    length: usize,
    status: Option<String>,
    /// What the answer is kept by, and what of it was said.
    kept: Option<(Keeper, ChunkAssembler)>,
}

impl ChunkSink {
    async fn send(&self, chunk: &ChatCompletionChunk<'_>) {
        // The receiver is gone only when the client is, and then this work is dropped as well.
        let _ = self.frames.send(sse::data(chunk)).await;
    }

    /// Passes on what the model said.
    async fn forward(&mut self, delta: Map<String, Value>, logprobs: Value) {
        if let Some((_, said)) = &mut self.kept {
            said.take(&LlmChunk { delta: delta.clone(), ..LlmChunk::default() });
        }
        self.length += delta.get("content").and_then(Value::as_str).map_or(4, str::len);
        self.send(&ChatCompletionChunk::forwarded(&self.meta, self.include_usage, delta, logprobs)).await;
    }

    async fn finish(&mut self, completion: Completion) -> Result<(), ApiError> {
        if let Some((keeper, said)) = self.kept.take() {
            let said = said.finish();
            let (text, calls) = (said.text().to_owned(), said.tool_calls());
            let mut kept = completion.clone();
            if !calls.is_empty() {
                kept.caller_calls = Some(CallerCalls::Tools(calls));
            }
            keeper.keep(&ChatCompletion::new(&self.meta, text, kept)).await?;
        }
        if let Some(calls) = &completion.caller_calls {
            self.send(&ChatCompletionChunk::calls(&self.meta, self.include_usage, calls)).await;
        }
        let usage = UsageObject::counted(completion.usage.as_ref(), self.meta.prompt_tokens, self.length);
        self.send(&ChatCompletionChunk::stop(&self.meta, self.include_usage, completion)).await;
        if self.include_usage {
            self.send(&ChatCompletionChunk::usage(&self.meta, usage)).await;
        }
        Ok(())
    }
}

impl AnswerSink for ChunkSink {
    fn is_streaming(&self) -> bool {
        true
    }

    fn has_content(&self) -> bool {
        self.has_content
    }

    async fn write(&mut self, text: String) {
        self.has_content = true;
        self.length += text.len();
        if let Some((_, said)) = &mut self.kept {
            let delta = Map::from_iter([("content".to_owned(), Value::from(text.as_str()))]);
            said.take(&LlmChunk { delta, ..LlmChunk::default() });
        }
        self.send(&ChatCompletionChunk::content(&self.meta, self.include_usage, text)).await;
    }

    async fn status(&mut self, description: Option<&str>) {
        if !self.shows_status || self.status.as_deref() == description {
            return;
        }
        let before = std::mem::replace(&mut self.status, description.map(str::to_owned));
        let (text, is_done) = match (description, before) {
            (Some(text), _) => (text.to_owned(), false),
            (None, before) => (before.unwrap_or_default(), true),
        };
        self.send(&ChatCompletionChunk::status(&self.meta, self.include_usage, text, is_done)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use serde_json::json;

    use super::*;

    fn streams() -> Streams {
        Streams::new(NonZeroU32::MIN)
    }

    fn response<F>(streams: &Streams, work: impl FnOnce(ChunkSink) -> F + Send + 'static) -> Response
    where
        F: Future<Output = Result<(), ApiError>> + Send + 'static,
    {
        let body = json!({"messages": [{"role": "user", "content": "go"}], "stream": true});
        let chat = ChatRequest::read(body.as_object().unwrap()).unwrap();
        let request_id = RequestId::of(&HeaderMap::new());
        let responder = StreamResponder::open(streams, &chat, &HeaderMap::new(), request_id).unwrap();
        let meta = CompletionMeta { id: "chatcmpl-1".to_owned(), created: 1, model: "m".to_owned(), prompt_tokens: 1 };
        responder.stream_response(meta, work)
    }

    async fn last_frame<F>(work: impl FnOnce(ChunkSink) -> F + Send + 'static) -> Value
    where
        F: Future<Output = Result<(), ApiError>> + Send + 'static,
    {
        let streams = streams();
        let response = response(&streams, work);

        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(streams.open().is_ok(), "the stream that has ended makes room");
        serde_json::from_str(text.trim_end().rsplit("data: ").next().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn what_is_asked_for_a_client_that_does_not_read_comes_to_its_end() {
        let connection = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
        let (asking, asked) = tokio::sync::oneshot::channel();
        let held = std::sync::Arc::clone(&connection);
        let stalled = response(&streams(), move |mut sink| async move {
            let permit = held.acquire_owned().await.unwrap();
            let _ = asking.send(());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            drop(permit);
            sink.write("nobody reads this".to_owned()).await;
            Ok(())
        });
        let mut body = stalled.into_body().into_data_stream();
        let _first = body.next().await;
        asked.await.unwrap();

        let free = tokio::time::timeout(std::time::Duration::from_secs(5), connection.acquire()).await;

        assert!(free.is_ok(), "a client that does not read holds what others need");
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_the_work() {
        let (working, mut alive) = tokio::sync::mpsc::channel::<()>(1);
        let leaving = response(&streams(), move |_| async move {
            let _working = working;
            std::future::pending().await
        });

        drop(leaving);

        assert_eq!(alive.recv().await, None);
    }

    #[tokio::test]
    async fn a_fault_in_mid_stream_is_a_frame_with_the_error() {
        let last = last_frame(|mut sink| async move {
            sink.write("so far so good".to_owned()).await;
            Err(ApiError::Internal("the store is gone".into()))
        })
        .await;

        assert_eq!(last["error"]["code"], "internal_error");
        assert!(!last.to_string().contains("store"));
    }

    #[tokio::test]
    async fn a_panic_in_mid_stream_is_a_frame_with_the_error() {
        let last = last_frame(|_| async { panic!("a bug") }).await;

        assert_eq!(last["error"]["code"], "internal_error");
        assert!(!last.to_string().contains("bug"));
    }
}
