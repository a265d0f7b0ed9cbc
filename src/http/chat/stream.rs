//! An answer in chunks: progress as it happens, the same words at the end, `[DONE]`.
//!
//! The work runs inside the body of the response: when the client leaves, it is dropped. The operation goes on.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event as SseEvent;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, future};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::app::{App, AppError};
use crate::http::chat::page;
use crate::http::chat::request::ChatRequest;
use crate::http::chat::wire::{Chunk, Head, Usage, Words};
use crate::http::deployments::DeploymentObject;
use crate::http::error::ApiError;
use crate::http::limit::{OpenStream, Streams};
use crate::http::request_id::RequestId;
use crate::http::sse;
use crate::id::OperationId;
use crate::reply::narration::Narrator;
use crate::reply::{plain, report};
use crate::store::record::Deployment;

/// How often something is said about a step that is only slow.
const TICK: Duration = Duration::from_secs(1);
/// A fence that output rarely contains.
const FENCE: &str = "````";

/// What a stream needs before anything is known about its answer.
pub struct Writer {
    open: OpenStream,
    request_id: RequestId,
    include_usage: bool,
    shows_status: bool,
}

impl Writer {
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
        let (include_usage, shows_status) = (chat.include_usage, page::shows_status(headers));
        Ok(Self { open: streams.open()?, request_id, include_usage, shows_status })
    }

    /// Answers with words that are known already.
    #[must_use]
    pub fn words(self, head: Head, words: Words) -> Response {
        self.write(head, |mut chunks| async move {
            chunks.finish(words).await;
            Ok(())
        })
    }

    /// Answers with the progress of an operation and how it ended.
    #[must_use]
    pub fn operation(self, head: Head, app: App, id: OperationId) -> Response {
        self.write(head, move |mut chunks| async move {
            tell(&mut chunks, &app, id).await?;
            let mut words = super::words(&app, id).await?;
            if chunks.has_spoken {
                words.content.insert(0, '\n');
            }
            chunks.status_done().await;
            chunks.finish(words).await;
            Ok(())
        })
    }

    /// Answers with what an application prints, until it ends or the client leaves.
    #[must_use]
    pub fn logs(
        self,
        head: Head,
        shutdown: CancellationToken,
        deployment: &Deployment,
        lines: BoxStream<'static, Result<String, AppError>>,
    ) -> Response {
        let headline = report::logs_headline(deployment);
        let object = DeploymentObject::from(deployment);
        self.write(head, move |mut chunks| async move {
            chunks.say(format!("{headline}\n\n{FENCE}text\n")).await;
            let mut lines = std::pin::pin!(lines.take_until(shutdown.cancelled_owned()));
            while let Some(line) = lines.next().await {
                chunks.say(format!("{}\n", plain(&line?))).await;
            }
            chunks.finish(Words { content: format!("{FENCE}\n"), operation: None, deployment: Some(object) }).await;
            Ok(())
        })
    }

    /// Runs the work inside the body. A fault in mid-stream becomes a frame with the error object.
    fn write<W, F>(self, head: Head, work: W) -> Response
    where
        W: FnOnce(Chunks) -> F + Send + 'static,
        F: Future<Output = Result<(), ApiError>> + Send + 'static,
    {
        let (frames, received) = mpsc::channel(16);
        let request_id = self.request_id;
        let chunks = Chunks {
            frames: frames.clone(),
            head,
            include_usage: self.include_usage,
            shows_status: self.shows_status,
            has_spoken: false,
            length: 0,
            status: None,
        };
        let work = async move {
            chunks.send(&Chunk::role(&chunks.head, chunks.include_usage)).await;
            let failed = match AssertUnwindSafe(work(chunks)).catch_unwind().await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error),
                Err(_) => Some(ApiError::Internal("panicked in mid-stream".into())),
            };
            let last = match failed {
                None => SseEvent::default().data("[DONE]"),
                Some(error) => sse::data(&error.body(request_id.as_str())),
            };
            // The receiver is gone only when the client is.
            let _ = frames.send(last).await;
        };
        let work = work.in_current_span().into_stream().filter_map(|()| future::ready(None));
        sse::respond(stream::select(ReceiverStream::new(received), work), self.open)
    }
}

/// Tells what happens in an operation until it has ended or the server stops.
async fn tell(chunks: &mut Chunks, app: &App, id: OperationId) -> Result<(), ApiError> {
    let mut narrator = Narrator::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut events = std::pin::pin!(app.follow(id, 0).take_until(app.shutdown_token().cancelled_owned()));
    loop {
        let lines = tokio::select! {
            biased;
            event = events.next() => match event {
                Some(event) => narrator.hear(&event?),
                None => return Ok(()),
            },
            _ = ticks.tick() => narrator.advance(Timestamp::now()),
        };
        for line in lines {
            chunks.say(format!("{line}\n")).await;
        }
        if let Some(status) = narrator.status() {
            chunks.status(status).await;
        }
    }
}

/// Writes the chunks of one answer.
struct Chunks {
    frames: mpsc::Sender<SseEvent>,
    head: Head,
    include_usage: bool,
    shows_status: bool,
    has_spoken: bool,
    length: usize,
    status: Option<String>,
}

impl Chunks {
    async fn send(&self, chunk: &Chunk<'_>) {
        // The receiver is gone only when the client is, and then this work is dropped as well.
        let _ = self.frames.send(sse::data(chunk)).await;
    }

    async fn say(&mut self, text: String) {
        self.has_spoken = true;
        self.length += text.len();
        self.send(&Chunk::content(&self.head, self.include_usage, text)).await;
    }

    async fn status(&mut self, description: &str) {
        if self.shows_status && self.status.as_deref() != Some(description) {
            self.status = Some(description.to_owned());
            self.send(&Chunk::status(&self.head, self.include_usage, description.to_owned(), false)).await;
        }
    }

    async fn status_done(&mut self) {
        if let Some(description) = self.status.take() {
            self.send(&Chunk::status(&self.head, self.include_usage, description, true)).await;
        }
    }

    async fn finish(&mut self, words: Words) {
        self.say(words.content).await;
        self.send(&Chunk::stop(&self.head, self.include_usage, words.operation, words.deployment)).await;
        if self.include_usage {
            let usage = Usage::of_length(self.head.prompt_tokens, self.length);
            self.send(&Chunk::usage(&self.head, usage)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use serde_json::{Value, json};

    use super::*;

    async fn last_frame<F>(work: impl FnOnce(Chunks) -> F + Send + 'static) -> Value
    where
        F: Future<Output = Result<(), ApiError>> + Send + 'static,
    {
        let body = json!({"messages": [{"role": "user", "content": "go"}], "stream": true});
        let chat = ChatRequest::read(body.as_object().unwrap()).unwrap();
        let streams = Streams::new(NonZeroU32::MIN);
        let request_id = RequestId::of(&HeaderMap::new());
        let writer = Writer::open(&streams, &chat, &HeaderMap::new(), request_id).unwrap();
        let head = Head { id: "chatcmpl-1".to_owned(), created: 1, model: "m".to_owned(), prompt_tokens: 1 };

        let response = writer.write(head, work);

        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(streams.open().is_ok(), "the stream that has ended makes room");
        serde_json::from_str(text.trim_end().rsplit("data: ").next().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_fault_in_mid_stream_is_a_frame_with_the_error() {
        let last = last_frame(|mut chunks| async move {
            chunks.say("so far so good".to_owned()).await;
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
