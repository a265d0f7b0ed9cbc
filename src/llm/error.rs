//! Why a model did not answer, the one for chats or the one for embeddings, each in words that say what to do.

use std::time::Duration;

/// Says why a model did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LlmError {
    /// No connection.
    #[error("the model at `{address}` cannot be reached ({reason})")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// Why.
        reason: String,
    },
    /// It said nothing for too long.
    #[error("the model said nothing for {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The key is wrong.
    #[error("the model does not accept the key (HTTP 401); check `{setting}`")]
    Unauthorized {
        /// The setting that holds the key.
        setting: &'static str,
    },
    /// The key may not do this, or this machine may not.
    #[error("the model at `{address}` refuses access (HTTP 403): {message}")]
    Forbidden {
        /// Where it is.
        address: String,
        /// What it says.
        message: String,
    },
    /// There is no model of that name.
    #[error("there is no model `{model}` at `{address}` (HTTP 404); check `{setting}`")]
    NoSuchModel {
        /// The name.
        model: String,
        /// Where it was looked for.
        address: String,
        /// The setting that holds the name.
        setting: &'static str,
    },
    /// Too many requests or tokens.
    #[error("the model takes no more requests for a while (HTTP 429)")]
    RateLimited {
        /// When it takes some again.
        retry_after: Option<Duration>,
    },
    /// The prompt is against the policy of the model's content filter.
    #[error("the model's content filter refused the conversation: {message}")]
    Filtered {
        /// What it says.
        message: String,
    },
    /// The request is wrong.
    #[error("the model refused the request (HTTP {status}): {message}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// What it says.
        message: String,
        /// The field that it names.
        param: Option<String>,
        /// The code that it gives.
        code: Option<String>,
    },
    /// A fault on its side.
    #[error("the model has a fault of its own (HTTP {status})")]
    ServerError {
        /// The status of the answer.
        status: u16,
    },
    /// What it said is not of OpenAI's format.
    #[error("the model answered in a format that is not OpenAI's")]
    Malformed,
    /// It stopped in the middle of its answer.
    #[error("the model stopped in the middle of its answer")]
    Truncated,
    /// It reported a fault in the middle of its answer.
    #[error("the model stopped in the middle of its answer: {message}")]
    InStream {
        /// What it says.
        message: String,
    },
    /// It failed several times in a row and is left alone for a moment.
    #[error("the model failed several times and is asked again in {} s", .0.as_secs().max(1))]
    CircuitOpen(Duration),
}

impl LlmError {
    /// Whether the same request may be answered a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::RateLimited { .. } | Self::ServerError { .. } => true,
            Self::TimedOut(_)
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NoSuchModel { .. }
            | Self::Filtered { .. }
            | Self::Refused { .. }
            | Self::Malformed
            | Self::Truncated
            | Self::InStream { .. }
            | Self::CircuitOpen(_) => false,
        }
    }

    /// Whether it speaks against the model as such, not against one request.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut(_)
            | Self::ServerError { .. }
            | Self::Malformed
            | Self::Truncated => true,
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NoSuchModel { .. }
            | Self::RateLimited { .. }
            | Self::Filtered { .. }
            | Self::Refused { .. }
            | Self::InStream { .. }
            | Self::CircuitOpen(_) => false,
        }
    }

    /// The pause after which the model wants to be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => *retry_after,
            Self::CircuitOpen(rest) => Some(*rest),
            Self::Unreachable { .. }
            | Self::TimedOut(_)
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NoSuchModel { .. }
            | Self::Filtered { .. }
            | Self::Refused { .. }
            | Self::ServerError { .. }
            | Self::Malformed
            | Self::Truncated
            | Self::InStream { .. } => None,
        }
    }
}
