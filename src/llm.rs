//! The chat model: Azure OpenAI, or any endpoint that speaks OpenAI's chat completions; and the embedding model beside it.
//!
//! A thin client: it sends a [`Prompt`], which cannot hold a secret, and gives back an [`Answer`], whole or chunk by
//! chunk as it arrives. `endpoint` says where the model is, `chunk` what it sends, `circuit_breaker` when it is left
//! alone. What to say to the model and what to make of its answer is not known here.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use eventsource_stream::Eventsource;
use futures_util::{Stream, StreamExt, TryStreamExt};
use reqwest::header::{ACCEPT, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::Settings;
use crate::secret::Redactor;

pub mod chunk;
mod circuit_breaker;
pub mod embedding;
mod endpoint;
mod error;
pub mod prompt;

pub use chunk::{Answer, Chunk, ToolCall, Usage};
pub use error::LlmError;
pub use prompt::Prompt;

use circuit_breaker::CircuitBreaker;
use endpoint::Endpoint;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a request is sent again that failed for a passing reason before the model said anything.
const RETRIES: usize = 2;
/// The first pause before a request is sent again; the model may ask for another one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A model that asks for a longer pause is not waited for: the caller is told.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// The largest part of a refusal that is read.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// A client of the chat model. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Model(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Client,
    endpoint: Endpoint,
    redactor: Redactor,
    circuit: CircuitBreaker,
    timeout: Duration,
}

impl Model {
    /// The model of the settings; `None` when they name none.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Option<Self> {
        Endpoint::of_chat(&settings.llm).map(|endpoint| Self::at(endpoint, settings))
    }

    fn at(endpoint: Endpoint, settings: &Settings) -> Self {
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(settings.llm.timeout)
            // No redirects: on one to another host reqwest strips `Authorization`, but never Azure's `api-key` header
            // (`remove_sensitive_headers`).
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the options of the client do not contradict each other");
        Self(Arc::new(Inner {
            http,
            endpoint,
            redactor: Redactor::from_settings(settings),
            circuit: CircuitBreaker::new(),
            timeout: settings.llm.timeout,
        }))
    }

    /// Its name, as the settings have it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.endpoint.model
    }

    /// Where it is, without anything secret.
    #[must_use]
    pub fn address(&self) -> String {
        self.0.endpoint.display_url()
    }

    /// An empty prompt, which knows what is secret here.
    #[must_use]
    pub fn prompt(&self) -> Prompt {
        Prompt::new(self.0.redactor.clone())
    }

    /// Asks for a whole answer.
    ///
    /// # Errors
    /// [`LlmError`] says what the model, or the way to it, lacks.
    pub async fn complete(&self, prompt: &Prompt) -> Result<Answer, LlmError> {
        let response = self.send(&prompt.body(self.name(), false), false).await?;
        let answer = async {
            let body = read(response, MAX_ANSWER_BYTES).await.map_err(|error| self.broken(&error))?;
            Answer::read(&body).ok_or(LlmError::Malformed)
        };
        let answer = answer.await;
        self.0.circuit.record(answer.as_ref().err());
        answer
    }

    /// Asks for an answer in chunks. The request is accepted when this returns.
    ///
    /// # Errors
    /// [`LlmError`] says what the model, or the way to it, lacks; an error in the stream is its last item.
    pub async fn stream(
        &self,
        prompt: &Prompt,
    ) -> Result<impl Stream<Item = Result<Chunk, LlmError>> + Send + use<>, LlmError> {
        let response = self.send(&prompt.body(self.name(), true), true).await?;
        let model = self.clone();
        let bytes = futures_util::stream::unfold((response, 0), |(mut response, taken)| async move {
            let bytes = match response.chunk().await {
                Ok(None) => return None,
                Ok(Some(bytes)) if taken + bytes.len() > MAX_ANSWER_BYTES => return None,
                Ok(Some(bytes)) => Ok(bytes),
                Err(error) => Err(error),
            };
            let taken = taken + bytes.as_ref().map_or(0, bytes::Bytes::len);
            Some((bytes, (response, taken)))
        });
        let events = Box::pin(bytes).eventsource();
        let state = (events, model, Progress::Speaking);
        Ok(futures_util::stream::unfold(state, |(mut events, model, mut progress)| async move {
            loop {
                if progress == Progress::Ended {
                    return None;
                }
                let item = model.next(events.next().await, &mut progress);
                if let Some(item) = item {
                    if let Err(error) = &item {
                        progress = Progress::Ended;
                        model.0.circuit.record(Some(error));
                    }
                    return Some((item, (events, model, progress)));
                }
                if progress == Progress::Ended {
                    model.0.circuit.record(None);
                }
            }
        }))
    }

    /// Reads one event of a stream; `None` when there is nothing to say about it.
    fn next<E: Into<StreamError>>(
        &self,
        event: Option<Result<eventsource_stream::Event, E>>,
        progress: &mut Progress,
    ) -> Option<Result<Chunk, LlmError>> {
        match event {
            None => {
                let is_whole = *progress == Progress::Finished;
                *progress = Progress::Ended;
                (!is_whole).then_some(Err(LlmError::Truncated))
            }
            Some(Err(error)) => Some(Err(match error.into() {
                StreamError::Transport(error) => self.broken(&error),
                StreamError::Format => LlmError::Malformed,
            })),
            Some(Ok(event)) if event.data.trim() == "[DONE]" => {
                *progress = Progress::Ended;
                None
            }
            Some(Ok(event)) => {
                let chunk = match chunk::parse_event(&event.data) {
                    chunk::StreamItem::Chunk(chunk) => chunk,
                    chunk::StreamItem::Nothing => return None,
                    chunk::StreamItem::Error(message) => {
                        return Some(Err(LlmError::InStream { message: self.redact(&message) }));
                    }
                    chunk::StreamItem::Malformed => return Some(Err(LlmError::Malformed)),
                };
                if chunk.finish_reason.is_some() {
                    *progress = Progress::Finished;
                }
                Some(Ok(chunk))
            }
        }
    }

    /// Asks for one word, to see whether the model answers.
    ///
    /// # Errors
    /// [`LlmError`].
    pub async fn check(&self) -> Result<(), LlmError> {
        let mut prompt = self.prompt();
        prompt.push(serde_json::json!({"role": "user", "content": "Answer with the one word `ok`."}));
        self.attempt(&prompt.body(self.name(), false), false).await.map(drop)
    }

    /// Sends a request until it is accepted, a few times at most.
    async fn send(&self, body: &(impl Serialize + Sync), stream: bool) -> Result<Response, LlmError> {
        self.0.circuit.acquire()?;
        let backoff = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_times(RETRIES).with_jitter();
        let sent = (|| self.attempt(body, stream))
            .retry(backoff)
            .when(LlmError::is_transient)
            .adjust(|error, pause| match (error.retry_after(), pause) {
                (Some(wanted), Some(pause)) => (wanted <= LONGEST_PAUSE).then(|| wanted.max(pause)),
                (_, pause) => pause,
            })
            .await;
        // Only failures are recorded here; success is recorded by `complete` and `stream` once the whole body was read.
        if let Err(error) = &sent {
            self.0.circuit.record(Some(error));
        }
        sent
    }

    async fn attempt(&self, body: &(impl Serialize + Sync), stream: bool) -> Result<Response, LlmError> {
        let endpoint = &self.0.endpoint;
        let mut request = self.0.http.post(endpoint.url.clone()).json(body);
        if let Some((name, value)) = &endpoint.key {
            request = request.header(name, value);
        }
        if stream {
            request = request.header(ACCEPT, "text/event-stream");
        }
        let response = request.send().await.map_err(|error| {
            if error.is_timeout() && !error.is_connect() {
                LlmError::TimedOut(self.0.timeout)
            } else {
                LlmError::Unreachable { address: endpoint.display_url(), reason: cause(&error) }
            }
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.error_from_response(response).await)
    }

    /// What an answer that is not 200 means.
    async fn error_from_response(&self, response: Response) -> LlmError {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read(response, MAX_REFUSAL_BYTES).await.unwrap_or_default();
        let response: ErrorResponse = serde_json::from_slice(&body).unwrap_or_default();
        let error = response.error.unwrap_or_default();
        let message = error.message.as_deref().or(response.message.as_deref()).unwrap_or("it gave no reason");
        let message = self.redact(message);
        let endpoint = &self.0.endpoint;
        match status {
            StatusCode::UNAUTHORIZED => LlmError::Unauthorized { setting: endpoint.key_setting },
            StatusCode::FORBIDDEN => LlmError::Forbidden { address: endpoint.display_url(), message },
            StatusCode::NOT_FOUND => LlmError::NoSuchModel {
                model: endpoint.model.clone(),
                address: endpoint.display_url(),
                setting: endpoint.model_setting,
            },
            StatusCode::TOO_MANY_REQUESTS => LlmError::RateLimited { retry_after: retry_after(&headers) },
            _ if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                LlmError::ServerError { status: status.as_u16() }
            }
            _ if error.is_filtered() => LlmError::Filtered { message },
            _ => LlmError::Refused {
                status: status.as_u16(),
                message,
                param: error.param.filter(|it| it.len() <= 120),
                code: error.code.and_then(|it| it.as_str().map(str::to_owned)).filter(|it| it.len() <= 120),
            },
        }
    }

    fn broken(&self, error: &reqwest::Error) -> LlmError {
        if error.is_timeout() { LlmError::TimedOut(self.0.timeout) } else { LlmError::Truncated }
    }

    /// A text of the model's server, fit to be shown.
    fn redact(&self, text: &str) -> String {
        let text: String = text.chars().filter(|it| !it.is_control() || *it == '\n').take(1000).collect();
        self.0.redactor.redact(text.trim()).into_owned()
    }
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Speaking,
    /// The answer is whole; the usage may follow.
    Finished,
    Ended,
}

/// What can be wrong with a stream.
enum StreamError {
    Transport(reqwest::Error),
    Format,
}

impl From<eventsource_stream::EventStreamError<reqwest::Error>> for StreamError {
    fn from(error: eventsource_stream::EventStreamError<reqwest::Error>) -> Self {
        match error {
            eventsource_stream::EventStreamError::Transport(error) => Self::Transport(error),
            eventsource_stream::EventStreamError::Utf8(_) | eventsource_stream::EventStreamError::Parser(_) => {
                Self::Format
            }
        }
    }
}

/// The body of a refusal, of OpenAI or of a gateway before it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorResponse {
    error: Option<ErrorDetail>,
    message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    message: Option<String>,
    param: Option<String>,
    code: Option<Value>,
    innererror: Option<Map<String, Value>>,
}

impl ErrorDetail {
    /// Azure's content filter found the prompt to be against its policy.
    fn is_filtered(&self) -> bool {
        let is_filter = |code: Option<&Value>| {
            code.and_then(Value::as_str)
                .is_some_and(|it| ["content_filter", "ResponsibleAIPolicyViolation"].contains(&it))
        };
        is_filter(self.code.as_ref()) || is_filter(self.innererror.as_ref().and_then(|it| it.get("code")))
    }
}

/// The pause that the model asks for: `retry-after-ms`, else `retry-after` in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |value: Option<&reqwest::header::HeaderValue>| value?.to_str().ok()?.trim().parse::<u64>().ok();
    number(headers.get("retry-after-ms"))
        .map(Duration::from_millis)
        .or_else(|| number(headers.get(RETRY_AFTER)).map(Duration::from_secs))
}

/// The innermost cause, which says more than the errors around it.
fn cause(error: &reqwest::Error) -> String {
    let cause = std::iter::successors(error.source(), |&it| it.source()).last();
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}

/// A body, as far as it is not too large.
async fn read(response: Response, most: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    let mut pieces = std::pin::pin!(response.bytes_stream());
    while let Some(piece) = pieces.try_next().await? {
        body.extend_from_slice(&piece[..piece.len().min(most - body.len())]);
        if body.len() >= most {
            break;
        }
    }
    Ok(body)
}
