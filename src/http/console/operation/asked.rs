//! What was asked for with an operation: in the words of the form, and as the form filled in once more.

use serde_json::Value;

use crate::http::console::label;
use crate::http::console::text;

/// Where the stored request has what was given in a field of the API, in the order of the form. What says which deployment
/// is meant may lie in its `deployment`.
const FIELDS: [(&str, &str); 23] = [
    ("/mode", "deployment_mode"),
    ("/repository", "github_repo_url"),
    ("/git_ref", "git_ref"),
    ("/source_directory", "source_directory"),
    ("/namespace", "target_namespace"),
    ("/name", "instance_name"),
    ("/instance_id", "instance_id"),
    ("/public_ip", "public_ip"),
    ("/key_pair", "ec2_key_name"),
    ("/domain/zone", "base_hosted_zone_id"),
    ("/domain/label", "app_subdomain_label"),
    ("/replicas", "scale_replicas"),
    ("/container_port", "container_port"),
    ("/stop_grace_s", "stop_grace_s"),
    ("/dockerfile", "dockerfile_path"),
    ("/build/target", "build_target"),
    ("/build/platform", "build_platform"),
    ("/build/args", "build_args"),
    ("/build/secrets", NAMES_OF_SECRETS),
    ("/to/revision", "rollback_to"),
    ("/to/commit", "rollback_to"),
    ("/keep_target", "keep_target"),
    ("/delete_cluster", "delete_cluster"),
];
/// The field of which only names are stored.
const NAMES_OF_SECRETS: &str = "build_secrets";
/// A field that may be too long for an address.
const LONG: &str = "build_args";

/// A field of the API, and what was given in it as a form has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    field: &'static str,
    text: String,
}

impl Given {
    /// What the form calls the field.
    pub(super) fn label(&self) -> &'static str {
        label::of(self.field).unwrap_or(self.field)
    }

    /// What was given, in one line.
    pub(super) fn words(&self) -> String {
        if self.text == "true" { "yes".to_owned() } else { self.text.replace('\n', ", ") }
    }
}

/// What a stored request asks for, without what it leaves open.
pub(super) fn given(intent: &Value) -> Vec<Given> {
    let is_there = |it: &&Value| !it.is_null();
    let given = |&(place, field): &(&str, &'static str)| {
        let of_request = intent.pointer(place).filter(is_there);
        let value = of_request.or_else(|| intent["deployment"].pointer(place).filter(is_there))?;
        text_of(value).map(|text| Given { field, text })
    };
    FIELDS.iter().filter_map(given).collect()
}

/// Where the form of a new deployment is filled with what was given, but for secrets.
pub(super) fn form(given: &[Given]) -> String {
    let address = |is_left_out: &dyn Fn(&str) -> bool| {
        let shown = given.iter().filter(|it| !is_left_out(it.field));
        text::address("/new", shown.map(|it| (it.field, Some(it.text.clone()))))
    };
    let whole = address(&|field| field == NAMES_OF_SECRETS);
    if whole.len() <= text::LONGEST_ADDRESS {
        whole
    } else {
        address(&|field| matches!(field, NAMES_OF_SECRETS | LONG))
    }
}

fn text_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null | Value::Bool(false) => return None,
        Value::Bool(true) => "true".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("\n"),
        Value::Object(variables) => {
            variables.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join("\n")
        }
    };
    (!text.is_empty()).then_some(text)
}

/// A text without its quotation marks.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::id::DeploymentId;
    use crate::intent::{Intent, Limits, Selector, fields};

    fn stored(body: &Value) -> Value {
        let limits = Limits { max_replicas: 20, aws_credentials_in_settings: true };
        let request = fields::parse(body.as_object().unwrap(), &limits).unwrap().unwrap();
        serde_json::to_value(request.intent).unwrap()
    }

    fn told(intent: &Value) -> Vec<String> {
        given(intent).iter().map(|it| format!("{}: {}", it.label(), it.words())).collect()
    }

    #[test]
    fn a_deploy_is_told_in_the_words_of_its_form_and_fills_it_again() {
        let body = json!({
            "action": "deploy", "deployment_mode": "cloud-hosted", "github_repo_url": "https://github.com/a/b",
            "git_ref": "feature/x", "target_namespace": "demo", "instance_name": "web", "instance_id": "shop",
            "base_hosted_zone_id": "Z1", "app_subdomain_label": "shop", "scale_replicas": 3, "container_port": 8080,
            "stop_grace_s": 30, "dockerfile_path": "docker/Dockerfile", "source_directory": "services/api",
            "build_target": "web", "build_platform": "linux/arm64", "build_args": {"DEBUG": "true", "VERSION": "1.2"},
            "build_secrets": {"npm": "npm-t0ken"}, "keep_target": true,
        });

        let intent = stored(&body);

        // All but the action.
        assert_eq!(given(&intent).len(), body.as_object().unwrap().len() - 1);
        let told = told(&intent);
        for line in ["Replicas: 3", "Build arguments: DEBUG=true, VERSION=1.2", "Build secrets: npm"] {
            assert!(told.contains(&line.to_owned()), "{told:?}");
        }
        let form = form(&given(&intent));
        assert!(
            form.starts_with("/new?deployment_mode=cloud-hosted&github_repo_url=https%3A%2F%2Fgithub.com%2Fa%2Fb&")
        );
        assert!(form.contains("&build_args=DEBUG%3Dtrue%0AVERSION%3D1.2&") && !form.contains("npm"), "{form}");
    }

    #[test]
    fn what_would_be_too_long_for_an_address_is_left_out_of_it() {
        let args = json!({"TEXT": "x".repeat(text::LONGEST_ADDRESS)});

        let given = given(&json!({"action": "deploy", "repository": "r", "build": {"args": args}}));

        assert_eq!(form(&given), "/new?github_repo_url=r");
    }

    #[test]
    fn which_deployment_was_meant_is_told_like_the_rest() {
        let rollback = json!({
            "action": "rollback", "deployment_mode": "local", "instance_name": "notes", "rollback_to": 3,
        });
        let undo = serde_json::to_value(Intent::Undo(Selector::of(DeploymentId::new()))).unwrap();

        assert_eq!(told(&stored(&rollback)), ["Mode: local", "Name of the application: notes", "Version: 3"]);
        assert_eq!(given(&undo).len(), 1);
        assert_eq!(told(&json!({"action": "redeploy", "git_ref": null, "keep_target": false})), Vec::<String>::new());
    }
}
