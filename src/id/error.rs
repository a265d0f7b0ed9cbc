//! Why a text is not the name or identifier that it should be.

use std::borrow::Cow;

/// Says why a text is not the name or identifier that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {rule}")]
pub struct IdError {
    /// The text that was refused, cut to a length that fits a message.
    pub value: String,
    /// What would be right, as the end of the sentence "this is not ...".
    pub rule: Cow<'static, str>,
}

impl IdError {
    pub(super) fn new(value: &str, rule: impl Into<Cow<'static, str>>) -> Self {
        let value = value.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Self { value, rule: rule.into() }
    }
}
