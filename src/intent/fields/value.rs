//! One JSON value to one checked value of a request, lenient about numbers and booleans that come as strings.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use secrecy::SecretString;
use serde_json::Value;

use crate::id::{BuildSecretName, EnvironmentName, IdError, PlanHash, Port};
use crate::intent::{Confirmation, IntentError, IntentErrorCode, Limits, VersionRef};

/// At most so many variables of one field.
const MAX_VARIABLES: usize = 100;
/// At most so many bytes of their names and values.
const MAX_VARIABLES_BYTES: usize = 64 * 1024;

/// A present value and what is needed to judge it.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldContext<'a> {
    pub(super) value: &'a Value,
    pub(super) limits: &'a Limits,
    pub(super) name: &'static str,
}

/// Says what is wrong with a value; the field is added by who knows it.
#[derive(Debug)]
pub(super) enum FieldError {
    /// The value of the field.
    Value(String),
    /// A field of an object.
    Subfield(IntentError),
}

impl FieldError {
    /// The value of the field is wrong.
    pub(super) fn value(message: impl Into<String>) -> Self {
        Self::Value(message.into())
    }

    /// The error for the field.
    pub(super) fn into_error(self, field: &'static str) -> IntentError {
        match self {
            Self::Subfield(error) => error,
            Self::Value(message) => IntentError {
                param: Some(Cow::Borrowed(field)),
                message: format!("`{field}`: {message}"),
                code: IntentErrorCode::InvalidValue,
            },
        }
    }

    /// The error for a field of an object.
    pub(super) fn subfield(path: &'static str, message: &str, code: IntentErrorCode) -> Self {
        Self::Subfield(IntentError { param: Some(Cow::Borrowed(path)), message: format!("`{path}`: {message}"), code })
    }
}

impl From<IdError> for FieldError {
    fn from(error: IdError) -> Self {
        Self::value(error.to_string())
    }
}

impl<'a> FieldContext<'a> {
    /// A string with something in it.
    fn text(&self) -> Result<&'a str, FieldError> {
        match self.value {
            Value::String(text) if text.is_empty() => {
                Err(FieldError::value("the text is empty: give a value, or leave the field out"))
            }
            Value::String(text) => Ok(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err(FieldError::value(format!("a text is wanted, {} was given", json_type(self.value))))
            }
        }
    }

    /// A string that keeps the rule of a newtype.
    pub(super) fn parse<T>(&self, parse: impl Fn(&'a str) -> Result<T, IdError>) -> Result<T, FieldError> {
        Ok(parse(self.text()?)?)
    }

    /// One of some words; a near miss is told which one was meant.
    pub(super) fn word<T>(
        &self,
        words: &[&'static str],
        parse: fn(&str) -> Result<T, IdError>,
    ) -> Result<T, FieldError> {
        let text = self.text()?;
        parse(text).map_err(|error| {
            let plain: String = text.to_lowercase().chars().take(64).map(|c| if c == '_' { '-' } else { c }).collect();
            let meant = words.iter().find(|word| strsim::osa_distance(&plain, word) <= 2);
            let hint = meant.map(|word| format!(", did you mean `{word}`?")).unwrap_or_default();
            FieldError::value(format!("{error}{hint}"))
        })
    }

    /// A whole number from `min` to `max`.
    pub(super) fn number(&self, min: u32, max: u32) -> Result<u32, FieldError> {
        let number = match self.value {
            Value::Number(number) => integer(number),
            Value::String(text) => {
                Some(text.trim()).filter(|it| it.bytes().all(|b| b.is_ascii_digit())).and_then(|it| it.parse().ok())
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        number.filter(|it| (min..=max).contains(it)).ok_or_else(|| {
            FieldError::value(format!("{} is not a whole number from {min} to {max}", shown(self.value)))
        })
    }

    /// A TCP port.
    pub(super) fn port(&self) -> Result<Port, FieldError> {
        let number = self.number(1, u32::from(u16::MAX))?;
        u16::try_from(number).ok().and_then(Port::new).ok_or_else(|| FieldError::value("not a port"))
    }

    /// True or false.
    pub(super) fn flag(&self) -> Result<bool, FieldError> {
        match self.value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Some(false),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
        }
        .ok_or_else(|| FieldError::value(format!("{} is not `true` or `false`", shown(self.value))))
    }

    /// An IP address.
    pub(super) fn address(&self) -> Result<IpAddr, FieldError> {
        let text = self.text()?;
        text.parse()
            .map_err(|_| FieldError::value(format!("{} is not an IP address such as `203.0.113.7`", shown(self.value))))
    }

    /// A version to go back to: a number, or the beginning of a commit id.
    pub(super) fn version(&self) -> Result<VersionRef, FieldError> {
        let version = match self.value {
            Value::Number(number) => integer(number).filter(|it| *it > 0).map(VersionRef::Revision),
            Value::String(text) => VersionRef::parse(text),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        version.ok_or_else(|| {
            FieldError::value(format!(
                "{} is neither a revision number from 1 nor 7 to 64 hexadecimal digits of a commit id",
                shown(self.value)
            ))
        })
    }

    /// True, false, or the hash of a plan.
    pub(super) fn confirmation(&self) -> Result<Option<Confirmation>, FieldError> {
        let hash = self.value.as_str().and_then(|text| PlanHash::parse(text.trim()).ok());
        if let Some(hash) = hash {
            return Ok(Some(Confirmation::OfPlan(hash)));
        }
        let flag = self.flag().map_err(|_| {
            FieldError::value(format!("{} is not `true`, `false` or {}", shown(self.value), PlanHash::RULE))
        })?;
        Ok(flag.then_some(Confirmation::Given))
    }

    /// A text that no message may repeat.
    pub(super) fn secret(&self, longest: usize) -> Result<SecretString, FieldError> {
        let text = self.text()?;
        secret(text, longest).ok_or_else(|| FieldError::value(secret_rule(longest)))
    }

    /// Environment variables of the application.
    pub(super) fn environment(&self) -> Result<BTreeMap<EnvironmentName, SecretString>, FieldError> {
        let variables = self.variables("variable", EnvironmentName::parse)?;
        Ok(variables.into_iter().map(|(name, text)| (name, SecretString::from(text))).collect())
    }

    /// Values of ARG lines.
    pub(super) fn build_args(&self) -> Result<BTreeMap<EnvironmentName, String>, FieldError> {
        self.variables("argument", EnvironmentName::parse)
    }

    /// Secrets of a build.
    pub(super) fn build_secrets(&self) -> Result<BTreeMap<BuildSecretName, SecretString>, FieldError> {
        let variables = self.variables("secret", BuildSecretName::parse)?;
        Ok(variables.into_iter().map(|(name, text)| (name, SecretString::from(text))).collect())
    }

    /// An object of names to values. A null is refused: it could mean "remove it" or "leave it empty".
    fn variables<N: Ord + fmt::Display>(
        &self,
        noun: &str,
        parse: impl Fn(&'a str) -> Result<N, IdError>,
    ) -> Result<BTreeMap<N, String>, FieldError> {
        let Value::Object(object) = self.value else {
            return Err(FieldError::value(format!(
                "an object of {noun} names to values is wanted, {} was given",
                json_type(self.value)
            )));
        };
        if object.len() > MAX_VARIABLES {
            return Err(FieldError::value(format!("{} {noun}s are more than {MAX_VARIABLES}", object.len())));
        }
        let mut size = 0;
        let mut variables = BTreeMap::new();
        for (key, value) in object {
            let name = parse(key)?;
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err(FieldError::value(format!(
                        "the value of `{name}` is {}, a string, a number, true or false is wanted",
                        json_type(value)
                    )));
                }
            };
            if text.contains('\0') {
                return Err(FieldError::value(format!("the value of `{name}` holds a zero byte")));
            }
            size += key.len() + text.len();
            variables.insert(name, text);
        }
        if size > MAX_VARIABLES_BYTES {
            return Err(FieldError::value(format!("{size} bytes of {noun}s are more than {MAX_VARIABLES_BYTES}")));
        }
        Ok(variables)
    }
}

impl VersionRef {
    /// Reads a revision number (from 1) or the first 7 to 64 hexadecimal digits of a commit id.
    ///
    /// Digits alone are a revision up to six of them and a commit from seven on.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
        if hex && (7..=64).contains(&text.len()) {
            return Some(Self::Commit(text.to_ascii_lowercase()));
        }
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|revision| digits && *revision > 0).map(Self::Revision)
    }
}

/// A JSON number without a fraction; `3.0` is one, as some clients print it.
fn integer(number: &serde_json::Number) -> Option<u32> {
    let text = number.to_string();
    text.strip_suffix(".0").unwrap_or(&text).parse().ok()
}

/// A text without spaces and control characters that is not too long.
pub(super) fn secret(text: &str, longest: usize) -> Option<SecretString> {
    let fits = text.len() <= longest && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| SecretString::from(text))
}

pub(super) fn secret_rule(longest: usize) -> String {
    format!("at most {longest} printable characters without spaces are wanted (the value is not shown)")
}

/// What a value is, for a message that must not repeat it.
pub(super) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A value as a message shows it: short ones as they are, others by their kind.
fn shown(value: &Value) -> String {
    match value {
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
        Value::String(text) => {
            let text: String = text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            format!("`{text}`")
        }
        Value::Null | Value::Array(_) | Value::Object(_) => json_type(value).to_owned(),
    }
}
