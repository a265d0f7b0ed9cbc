//! Tools for a chat model, and its calls of them to requests.
//!
//! Both are made of the table that checks the fields of a request: what is offered is what is accepted, and a call is
//! judged like any other request. Not offered is what a model has no business with: credentials of a cloud, and the
//! confirmation, which is the person's.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::fields::{self, FIELDS, Field, FieldType, near_miss};
use super::partial::PartialRequest;
use super::{IntentError, IntentErrorCode, Limits, Request, Source};
use crate::id::Action;

/// Fields that no tool has.
const HIDDEN: &[&str] = &["action", "aws_credentials", "confirm", "follow"];

/// One tool, as a model is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// What it does.
    pub action: Action,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// The JSON schema of its arguments.
    pub parameters: Value,
}

impl Tool {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.action.as_str()
    }
}

/// The tools, one for each action; `given` is what the request says already.
#[must_use]
pub fn tools(given: &PartialRequest, limits: &Limits) -> Vec<Tool> {
    let tool = |action: &Action| Tool {
        action: *action,
        about: about(*action),
        parameters: parameters(*action, given, *limits),
    };
    Action::ALL.iter().map(tool).collect()
}

/// Reads the call of a tool. `restore` puts a secret back where the model was shown a stand-in; it is asked for the
/// values of secret fields only.
///
/// # Errors
/// [`IntentError`] says what is wrong with the call, for the model to make a better one.
pub fn parse(
    name: &str,
    arguments: &str,
    given: &PartialRequest,
    limits: &Limits,
    restore: impl Fn(&str) -> String,
) -> Result<Request, IntentError> {
    let action = Action::parse(name).map_err(|error| wrong(None, format!("there is no tool of this name: {error}")))?;
    request(action, object(arguments)?, given, limits, restore)
}

/// The request that a tool's arguments make; as [`parse`].
///
/// # Errors
/// [`IntentError`] says what is wrong with them.
pub fn request(
    action: Action,
    mut arguments: Map<String, Value>,
    given: &PartialRequest,
    limits: &Limits,
    restore: impl Fn(&str) -> String,
) -> Result<Request, IntentError> {
    // Models fill in what they do not know.
    arguments.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    for (name, value) in &mut arguments {
        let Some(field) = offered(action).find(|field| field.name == name) else {
            if let Some(meant) = near_miss::nearest(name, offered(action).map(|it| it.name)) {
                return Err(near_miss::unknown(name.clone(), meant));
            }
            let names: Vec<String> = offered(action).map(|it| format!("`{}`", it.name)).collect();
            let (name, names) = (cut(name), names.join(", "));
            return Err(wrong(Some(&name), format!("`{action}` has no parameter `{name}`; it has {names}")));
        };
        if field.secret {
            restore_all(value, &restore);
        }
    }
    let said = fields::parse_partial(&arguments, limits)?;
    if let Some(message) = said.contradiction(given) {
        return Err(wrong(None, message));
    }
    let request = given.clone().or(said);
    request.request(action, Source::Model, limits).map_err(|needs| fields::missing(action, &needs))
}

fn offered(action: Action) -> impl Iterator<Item = &'static Field> + Clone {
    FIELDS.iter().filter(move |field| field.actions.contains(&action) && !HIDDEN.contains(&field.name))
}

fn object(text: &str) -> Result<Map<String, Value>, IntentError> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            Err(wrong(None, "the arguments must be one JSON object".to_owned()))
        }
        Err(error) => Err(wrong(None, format!("the arguments are not JSON: {error}"))),
    }
}

/// Puts secrets back into every text of a value.
pub fn restore_all(value: &mut Value, restore: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = restore(text),
        Value::Object(map) => map.values_mut().for_each(|it| restore_all(it, restore)),
        Value::Array(items) => items.iter_mut().for_each(|it| restore_all(it, restore)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn wrong(param: Option<&str>, message: String) -> IntentError {
    let param = param.map(|it| Cow::Owned(cut(it)));
    IntentError { param, message, code: IntentErrorCode::InvalidValue }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

fn parameters(action: Action, given: &PartialRequest, limits: Limits) -> Value {
    let properties: Map<String, Value> =
        offered(action).map(|field| (field.name.to_owned(), schema(field, limits))).collect();
    let required: Vec<&str> = given
        .missing(action, Source::Model, &limits)
        .into_iter()
        .map(super::partial::MissingField::field)
        .filter(|name| properties.contains_key(*name))
        .collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn schema(field: &Field, limits: Limits) -> Value {
    let about = field.about;
    match field.kind {
        FieldType::Text | FieldType::Version => json!({"type": "string", "description": about}),
        FieldType::Choice(words) => json!({"type": "string", "enum": words, "description": about}),
        FieldType::Integer { min, max } => {
            let max = if field.name == "scale_replicas" { u32::from(limits.max_replicas) } else { max };
            json!({"type": "integer", "minimum": min, "maximum": max, "description": about})
        }
        FieldType::Boolean | FieldType::Confirmation => json!({"type": "boolean", "description": about}),
        FieldType::Object(_) => json!({"type": "object", "description": about}),
        FieldType::Variables => {
            json!({"type": "object", "additionalProperties": {"type": "string"}, "description": about})
        }
    }
}

fn about(action: Action) -> &'static str {
    match action {
        Action::Deploy => {
            "Builds a git repository and runs it. Only with a repository and a mode that the person named."
        }
        Action::Redeploy => "Builds the newest commit (or the one of `git_ref`) of a deployment and rolls it out.",
        Action::Scale => "Sets the number of replicas of a deployment.",
        Action::Restart => {
            "Replaces the pods of a deployment by new ones of the version that runs; it goes on serving meanwhile."
        }
        Action::Rollback => "Goes back to an earlier version of a deployment.",
        Action::Decommission => {
            "Removes a deployment with everything that belongs to it. The server itself asks the person to confirm."
        }
        Action::Status => {
            "Tells how a deployment is right now, what its last operation did, and why it fails if it does."
        }
        Action::List => "Lists what is deployed, where, and at which address.",
        Action::Logs => "Shows the last lines that an application printed.",
        Action::Cancel => "Stops the operation that is running on a deployment and takes back what it did.",
        Action::Undo => {
            "Takes back the last change of a deployment, or the person's last change when none is named: the version or \
             the number of replicas before; a first deployment is removed. The server itself asks the person to confirm \
             where that is needed."
        }
        Action::Cost => "Tells what each deployment costs per hour and month, and all of them together.",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::id::Mode;
    use crate::intent::Intent;

    const LIMITS: Limits = Limits { max_replicas: 10, aws_credentials_in_settings: true };

    fn call(name: &str, arguments: &str) -> Result<Request, IntentError> {
        parse(name, arguments, &PartialRequest::default(), &LIMITS, |text| text.replace("[secret-1]", "hunter2"))
    }

    #[test]
    fn a_tool_has_the_fields_of_its_action_and_says_which_it_needs() {
        let tools = tools(&PartialRequest::default(), &LIMITS);

        let scale = &tools.iter().find(|it| it.action == Action::Scale).unwrap().parameters;
        assert_eq!(scale["required"], json!(["scale_replicas"]));
        assert_eq!(scale["properties"]["scale_replicas"]["maximum"], 10);
        let deploy = &tools.iter().find(|it| it.action == Action::Deploy).unwrap().parameters;
        assert_eq!(deploy["required"], json!(["deployment_mode", "github_repo_url"]));
        assert!(tools.iter().all(|it| HIDDEN.iter().all(|name| it.parameters["properties"].get(*name).is_none())));
    }

    #[test]
    fn what_the_request_says_the_model_need_not() {
        let given = PartialRequest { mode: Some(Mode::Local), ..PartialRequest::default() };
        let tools = tools(&given, &LIMITS);
        let arguments = r#"{"github_repo_url": "https://git.example.test/a/b"}"#;

        assert_eq!(tools[0].parameters["required"], json!(["github_repo_url"]));
        assert!(parse("deploy", arguments, &given, &LIMITS, str::to_owned).is_ok());
        let other = r#"{"github_repo_url": "https://git.example.test/a/b", "deployment_mode": "cloud-hosted"}"#;
        assert!(
            parse("deploy", other, &given, &LIMITS, str::to_owned).unwrap_err().message.contains("deployment_mode")
        );
    }

    #[test]
    fn a_call_becomes_a_request_and_secrets_come_back_where_they_may() {
        let request = call(
            "deploy",
            r#"{"deployment_mode": "local", "github_repo_url": "https://git.example.test/a/b", "git_ref": "",
                "environment": {"KEY": "[secret-1]"}}"#,
        )
        .unwrap();

        assert!(matches!(request.intent, Intent::Deploy(_)) && request.source == Source::Model);
        let environment = request.secrets.environment.unwrap();
        assert_eq!(environment.values().map(ExposeSecret::expose_secret).collect::<Vec<_>>(), ["hunter2"]);
        assert!(call("status", r#"{"instance_name": "[secret-1]"}"#).is_err());
    }

    #[test]
    fn a_wrong_call_says_what_would_be_right() {
        let error = |name: &str, arguments: &str| call(name, arguments).unwrap_err().message;

        assert!(error("scale", "{").contains("not JSON"));
        assert!(error("scale", "[]").contains("one JSON object"));
        assert!(error("scale", "").contains("`scale_replicas`"));
        assert!(error("scale", r#"{"scale_replica": 3}"#).contains("did you mean `scale_replicas`?"));
        assert!(error("scale", r#"{"scale_replicas": 99}"#).contains("from 0 to 10"));
        assert!(error("scale", r#"{"color": "red"}"#).contains("no parameter `color`"));
        assert!(error("destroy", "{}").contains("`decommission`"));
        assert!(error("decommission", r#"{"confirm": true}"#).contains("no parameter `confirm`"));
    }

    proptest! {
        #[test]
        fn reading_a_call_never_panics(name in any::<String>(), text in any::<String>(), value in any::<i64>()) {
            let _ = call(&name, &text);
            let _ = call("scale", &json!({"scale_replicas": value, text.as_str(): text}).to_string());
        }
    }
}
