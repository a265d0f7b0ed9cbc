//! The field `aws_credentials`: an object with fields of its own.

use serde_json::Value;

use super::near_miss::{nearest, unknown};
use super::value::{FieldContext, FieldError, json_type, secret, secret_rule};
use crate::id::Region;
use crate::intent::{AwsCredentials, IntentErrorCode};

/// One field of an object that is itself a field.
#[derive(Debug, Clone, Copy)]
pub struct Subfield {
    /// Its name in the object.
    pub name: &'static str,
    /// Its full name in errors.
    pub path: &'static str,
    /// What it means and what is allowed, as one sentence.
    pub about: &'static str,
    /// The object is incomplete without it.
    pub required: bool,
    /// The value must not be shown.
    pub secret: bool,
}

/// The fields of AWS credentials.
pub const AWS_CREDENTIAL_FIELDS: &[Subfield] = &[
    Subfield {
        name: "aws_access_key_id",
        path: "aws_credentials.aws_access_key_id",
        about: "Access key id.",
        required: true,
        secret: true,
    },
    Subfield {
        name: "aws_secret_access_key",
        path: "aws_credentials.aws_secret_access_key",
        about: "Secret access key.",
        required: true,
        secret: true,
    },
    Subfield {
        name: "aws_session_token",
        path: "aws_credentials.aws_session_token",
        about: "Session token of temporary credentials.",
        required: false,
        secret: true,
    },
    Subfield {
        name: "aws_region",
        path: "aws_credentials.aws_region",
        about: "Region such as `eu-central-1`; the setting `AWS_REGION` without it.",
        required: false,
        secret: false,
    },
];

/// Reads AWS credentials, field by field.
pub(super) fn read(cx: &FieldContext<'_>) -> Result<AwsCredentials, FieldError> {
    let Value::Object(object) = cx.value else {
        return Err(FieldError::value(format!("an object is wanted, {} was given", json_type(cx.value))));
    };
    let text = |index: usize| {
        let field = &AWS_CREDENTIAL_FIELDS[index];
        match object.get(field.name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
                let message = format!("a text is wanted, {} was given", json_type(other));
                Err(FieldError::subfield(field.path, &message, IntentErrorCode::InvalidValue))
            }
        }
    };
    let hidden = |index: usize, longest: usize| {
        let text: Option<&str> = text(index)?;
        text.map(|text| {
            secret(text, longest).ok_or_else(|| {
                FieldError::subfield(
                    AWS_CREDENTIAL_FIELDS[index].path,
                    &secret_rule(longest),
                    IntentErrorCode::InvalidValue,
                )
            })
        })
        .transpose()
    };
    let (access_key_id, secret_access_key, session_token) = (hidden(0, 128)?, hidden(1, 256)?, hidden(2, 8192)?);
    let region = text(3)?
        .map(|text| {
            Region::parse(text).map_err(|error| {
                FieldError::subfield(AWS_CREDENTIAL_FIELDS[3].path, &error.to_string(), IntentErrorCode::InvalidValue)
            })
        })
        .transpose()?;
    let names = AWS_CREDENTIAL_FIELDS.iter().map(|field| field.name);
    for name in object.keys() {
        if let Some(meant) = nearest(name, names.clone()) {
            return Err(FieldError::Subfield(unknown(format!("{}.{name}", cx.name), meant)));
        }
    }
    let absent = |index: usize| {
        FieldError::subfield(AWS_CREDENTIAL_FIELDS[index].path, "is missing", IntentErrorCode::MissingRequiredParameter)
    };
    Ok(AwsCredentials {
        access_key_id: access_key_id.ok_or_else(|| absent(0))?,
        secret_access_key: secret_access_key.ok_or_else(|| absent(1))?,
        session_token,
        region,
    })
}
