//! What is kept of a request and its answer: without the secrets that came with it, and without what looks like one.

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::config::Settings;
use crate::http::error::ApiError;
use crate::http::list::List;
use crate::intent::fields::{FIELDS, Field, FieldType};
use crate::secret::Redactor;
use crate::secret::redactor::is_secret_variable;
use crate::store::page::PageRequest;

/// One that knows the secrets of the settings and of a request.
#[must_use]
pub fn redactor(settings: &Settings, body: &Map<String, Value>) -> Redactor {
    let fields = FIELDS.iter().filter(|field| field.secret);
    let secrets: Vec<SecretString> = fields.flat_map(|field| secrets_of(field, body)).map(SecretString::from).collect();
    Redactor::from_settings(settings).with(&secrets)
}

fn secrets_of<'a>(field: &Field, body: &'a Map<String, Value>) -> Vec<&'a str> {
    let Some(value) = body.get(field.name) else { return Vec::new() };
    let texts = |is_secret: &dyn Fn(&str, &str) -> bool| {
        let entries = value.as_object().into_iter().flatten();
        let texts = entries.filter_map(|(name, it)| it.as_str().filter(|text| is_secret(name, text)));
        texts.collect()
    };
    match field.kind {
        FieldType::Object(fields) => {
            texts(&|name: &str, _: &str| fields.iter().any(|field| field.secret && field.name == name))
        }
        FieldType::Variables if field.name == "environment" => texts(&is_secret_variable),
        FieldType::Variables => texts(&|_: &str, _: &str| true),
        FieldType::Text
        | FieldType::Choice(_)
        | FieldType::Integer { .. }
        | FieldType::Boolean
        | FieldType::Version
        | FieldType::Confirmation => value.as_str().into_iter().collect(),
    }
}

/// Takes the secrets out of all texts of a value.
pub fn redact(redactor: &Redactor, value: &mut Value) {
    match value {
        Value::String(text) => {
            if let std::borrow::Cow::Owned(clean) = redactor.redact(text) {
                *text = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|it| redact(redactor, it)),
        Value::Object(fields) => fields.values_mut().for_each(|it| redact(redactor, it)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether this is metadata, as OpenAI limits it: an object of at most 16 texts.
#[must_use]
pub fn is_metadata(value: &Value) -> bool {
    let is_short = |text: &str, most: usize| text.chars().count() <= most;
    value.as_object().is_some_and(|it| {
        it.len() <= 16
            && it.iter().all(|(name, it)| is_short(name, 64) && it.as_str().is_some_and(|it| is_short(it, 512)))
    })
}

/// A page of what is kept as one list.
///
/// # Errors
/// [`ApiError`] when `after` is none of them.
pub fn page(
    items: Vec<Value>,
    wanted: &PageRequest<String>,
    id_of: impl Fn(&Value) -> String,
) -> Result<List<Value>, ApiError> {
    let begin = match &wanted.after {
        None => 0,
        Some(after) => match items.iter().position(|it| id_of(it) == *after) {
            Some(index) => index + 1,
            None => return Err(ApiError::invalid("after", "`after` must be the id of an entry of this list")),
        },
    };
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let has_more = items.len().saturating_sub(begin) > limit;
    let data = items.into_iter().skip(begin).take(limit).collect();
    Ok(List::new(data, has_more, id_of))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_secret_in_a_request_is_known_by_the_table_of_fields() {
        let body = json!({"git_token": "a-token-1", "environment": {"PORT": "8080", "DB_PASSWORD": "hunter2-x"},
            "build_secrets": {"npm": "for-the-build"}, "container_port": 8080,
            "aws_credentials": {"aws_secret_access_key": "of-the-account", "aws_region": "eu-central-1"}});
        let body = body.as_object().unwrap();
        let secrets: Vec<&str> = FIELDS.iter().filter(|it| it.secret).flat_map(|it| secrets_of(it, body)).collect();

        for secret in ["a-token-1", "hunter2-x", "for-the-build", "of-the-account"] {
            assert!(secrets.contains(&secret), "{secrets:?}");
        }
        assert_eq!(secrets.len(), 4);
    }
}
