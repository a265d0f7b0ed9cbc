//! A form whose fields are those of the API: what was typed, to the body that the API takes, and back into the page.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::http::console::body::put;
use crate::http::console::{label, text};
use crate::http::error::{ApiError, ErrorObject};
use crate::id::DeploymentId;
use crate::intent::fields::aws_credentials::Subfield;
use crate::intent::fields::{FIELDS, FieldType};

/// Fields of the API that no form has: the pages show the plan, and a button agrees to it.
const NOT_TYPED: [&str; 2] = ["confirm", "dry_run"];
/// The controls of a new deployment, in the order of its page, `new.html`.
const ON_PAGE: [&str; 25] = [
    "github_repo_url",
    "git_ref",
    "git_token",
    "deployment_mode",
    "aws_credentials.aws_access_key_id",
    "aws_credentials.aws_secret_access_key",
    "aws_credentials.aws_session_token",
    "aws_credentials.aws_region",
    "ec2_key_name",
    "base_hosted_zone_id",
    "app_subdomain_label",
    "target_namespace",
    "instance_name",
    "scale_replicas",
    "container_port",
    "environment",
    "source_directory",
    "dockerfile_path",
    "build_target",
    "build_platform",
    "build_args",
    "build_secrets",
    "stop_grace_s",
    "instance_id",
    "keep_target",
];
/// Those that the page shows only to whoever wants more.
pub(super) const ADVANCED: &[&str] = ON_PAGE.split_at(16).1;
/// What stands at a field that is wanted and empty.
const NEEDED: &str = "This is needed.";

/// What was typed, by the names of fields; the parts of an object have its name and a dot before theirs. It has secrets
/// in it: it is stored sealed, and nothing prints it.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Typed(BTreeMap<String, String>);

/// What is wrong with what was typed.
#[derive(Debug, Default, Serialize)]
pub(super) struct Faults {
    /// By the name of the field.
    #[serde(skip)]
    of_fields: BTreeMap<String, String>,
    /// What is wrong with all of it.
    pub(super) message: Option<String>,
    /// The name of the error.
    pub(super) code: Option<String>,
    /// The fields that are wrong.
    links: Vec<FieldLink>,
}

/// A way to a field, with what there is to say of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct FieldLink {
    id: String,
    text: String,
}

/// Settings that are named where fields are explained, as the numbers that they are here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    pub(super) max_replicas: u16,
    pub(super) stop_grace_s: u16,
}

/// A field as a page shows it.
#[derive(Debug, Serialize)]
pub(super) struct FieldView {
    /// Its name, and with `field-` before it its id.
    name: &'static str,
    id: String,
    label: &'static str,
    /// What it means.
    about: String,
    /// Which control it has: `text`, `number`, `checkbox`, `lines` or `secret`.
    control: &'static str,
    /// What was typed; of a secret nothing.
    value: String,
    /// A secret was typed, and has to be typed again.
    is_asked_again: bool,
    error: Option<String>,
}

/// One control of a form: a field of the API, or a part of one that is an object.
struct Slot {
    name: &'static str,
    about: &'static str,
    kind: FieldType,
    is_secret: bool,
}

/// All controls: those of a new deployment in the order of its page, those that it has not before them.
fn slots() -> impl Iterator<Item = Slot> {
    let typed = FIELDS.iter().filter(|it| !NOT_TYPED.contains(&it.name));
    let slots = typed.flat_map(|field| match field.kind {
        FieldType::Object(parts) => {
            let slot =
                |it: &Subfield| Slot { name: it.path, about: it.about, kind: FieldType::Text, is_secret: it.secret };
            parts.iter().map(slot).collect::<Vec<_>>()
        }
        FieldType::Text
        | FieldType::Choice(_)
        | FieldType::Integer { .. }
        | FieldType::Boolean
        | FieldType::Version
        | FieldType::Confirmation
        | FieldType::Variables => {
            vec![Slot { name: field.name, about: field.about, kind: field.kind, is_secret: field.secret }]
        }
    });
    let mut slots: Vec<Slot> = slots.collect();
    slots.sort_by_key(|slot| ON_PAGE.iter().position(|name| *name == slot.name));
    slots.into_iter()
}

impl Typed {
    /// What a form has sent, of the fields that there are. What is empty counts as not typed.
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        let names: Vec<&str> = slots().map(|it| it.name).collect();
        let is_typed = |(name, value): &(String, String)| names.contains(&name.as_str()) && !value.trim().is_empty();
        Self(pairs.into_iter().filter(is_typed).collect())
    }

    /// All of it that is no secret.
    pub(super) fn without_secrets(mut self) -> Self {
        for slot in slots().filter(|it| it.is_secret) {
            self.0.remove(slot.name);
        }
        self
    }

    /// The body of a request.
    ///
    /// # Errors
    /// [`ApiError`] for the first line that is no variable.
    pub(super) fn body(&self) -> Result<Map<String, Value>, ApiError> {
        let (body, errors) = self.read();
        errors.into_iter().next().map_or(Ok(body), Err)
    }

    /// The body of a request without what is wrong, and what is: a line that is no variable, one for each field.
    pub(super) fn read(&self) -> (Map<String, Value>, Vec<ApiError>) {
        let (mut body, mut errors) = (Map::new(), Vec::new());
        for slot in slots() {
            let Some(text) = self.0.get(slot.name) else { continue };
            match value(&slot, text) {
                Ok(Some(value)) => put(&mut body, slot.name, value),
                Ok(None) => (),
                Err(error) => errors.push(error),
            }
        }
        (body, errors)
    }

    /// What was typed into a field.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The deployment that it names by its id.
    pub(super) fn deployment(&self) -> Option<DeploymentId> {
        self.text("instance_id").and_then(|it| DeploymentId::parse(it.trim()).ok())
    }

    /// The page that leads to this form, with what was typed and is no secret.
    pub(super) fn page(&self) -> String {
        if self.text("action").is_some_and(|it| it != "deploy") {
            return self.deployment().map_or_else(|| "/".to_owned(), |id| format!("/deployments/{id}"));
        }
        let kept = self.clone().without_secrets();
        let values = kept.0.iter().filter(|(name, _)| *name != "action");
        let page = text::address("/new", values.map(|(name, text)| (name.as_str(), Some(text.clone()))));
        if page.len() > text::LONGEST_ADDRESS { "/new".to_owned() } else { page }
    }

    /// Every field as a page shows it, by its name.
    pub(super) fn fields(&self, faults: &Faults, numbers: Numbers) -> BTreeMap<&'static str, FieldView> {
        slots().map(|slot| (slot.name, self.field(&slot, faults, numbers))).collect()
    }

    /// The fields whose secrets were typed, and have to be typed again.
    pub(super) fn secrets(&self) -> Vec<FieldLink> {
        let typed = slots().filter(|it| it.is_secret && self.text(it.name).is_some());
        typed.map(|it| FieldLink { id: id_of(it.name), text: label_of(it.name).to_owned() }).collect()
    }

    fn field(&self, slot: &Slot, faults: &Faults, numbers: Numbers) -> FieldView {
        let typed = self.text(slot.name);
        let control = match slot.kind {
            FieldType::Variables => "lines",
            FieldType::Boolean => "checkbox",
            FieldType::Integer { .. } => "number",
            FieldType::Text
            | FieldType::Choice(_)
            | FieldType::Version
            | FieldType::Confirmation
            | FieldType::Object(_) => {
                if slot.is_secret {
                    "secret"
                } else {
                    "text"
                }
            }
        };
        FieldView {
            name: slot.name,
            id: id_of(slot.name),
            label: label_of(slot.name),
            about: numbers.in_text(&label::in_text(slot.about, |_| false)),
            control,
            value: typed.filter(|_| !slot.is_secret).unwrap_or_default().to_owned(),
            is_asked_again: slot.is_secret && typed.is_some(),
            error: faults.of_fields.get(slot.name).cloned(),
        }
    }

    /// The fields to show again after a refusal, which are those that are wrong and the secrets that were typed; and those
    /// that go along.
    pub(super) fn retry(&self, faults: &Faults, numbers: Numbers) -> (Vec<FieldView>, Vec<FieldView>) {
        let group = |name: &str| name.split_once('.').map(|(object, _)| object.to_owned());
        let wrong = faults.of_fields.keys().filter_map(|it| group(it.as_str()));
        let wrong: Vec<Option<String>> = wrong.map(Some).collect();
        let views = slots().map(|slot| self.field(&slot, faults, numbers));
        let (shown, rest): (Vec<_>, Vec<_>) =
            views.partition(|it| it.error.is_some() || it.is_asked_again || wrong.contains(&group(it.name)));
        (shown, rest.into_iter().filter(|it| !it.value.is_empty()).collect())
    }
}

impl Numbers {
    /// A text that says numbers, not how the settings are called that hold them.
    fn in_text(self, text: &str) -> String {
        let text = text.replace("`MAX_REPLICAS`", &self.max_replicas.to_string());
        text.replace("`STOP_GRACE_S`", &self.stop_grace_s.to_string())
    }
}

impl Faults {
    /// Where an error belongs: at its field, or on top. `others` are what else is wrong, `missing` are fields that are
    /// wanted and not there.
    pub(super) fn of(error: ErrorObject, others: &[ErrorObject], missing: &[&'static str], typed: &Typed) -> Self {
        let mut of_fields = BTreeMap::new();
        let in_labels =
            |error: &ErrorObject| label::in_text(&error.message, |it| typed.0.values().any(|value| value.trim() == it));
        let field = |error: &ErrorObject| error.param.as_deref().and_then(field_of);
        for name in missing.iter().filter_map(|it| field_of(it)) {
            of_fields.insert(name.to_owned(), NEEDED.to_owned());
        }
        for error in std::iter::once(&error).chain(others) {
            if let Some(name) = field(error) {
                of_fields.entry(name.to_owned()).or_insert_with(|| in_labels(error));
            }
        }
        // What is needed is told in one sentence too, what is wrong at its field alone.
        let on_top = field(&error).is_none_or(|name| of_fields.get(name).is_some_and(|it| it == NEEDED));
        Self {
            message: on_top.then(|| in_labels(&error)),
            code: Some(error.code.into_owned()),
            links: slots().filter_map(|it| Some(link(it.name, of_fields.get(it.name)?))).collect(),
            of_fields,
        }
    }

    /// Whether something is wrong with one of these fields.
    pub(super) fn is_among(&self, names: &[&str]) -> bool {
        self.of_fields.keys().any(|it| names.contains(&it.as_str()))
    }
}

/// A way to a field from what is wrong with it, in words that name the field.
fn link(name: &'static str, fault: &str) -> FieldLink {
    let label = label_of(name);
    let text = if fault == NEEDED {
        format!("“{label}” is needed.")
    } else if fault.contains(&format!("“{label}”")) {
        fault.to_owned()
    } else {
        format!("“{label}”: {fault}")
    };
    FieldLink { id: id_of(name), text }
}

/// The id that the control of a field has on a page.
fn id_of(name: &str) -> String {
    format!("field-{}", name.replace('.', "-"))
}

fn label_of(name: &'static str) -> &'static str {
    label::of(name).unwrap_or(name)
}

/// The control that a field has, for an object the first of its parts; nothing when no form has it.
fn field_of(param: &str) -> Option<&'static str> {
    let is_part = |name: &str| name.split_once('.').is_some_and(|(object, _)| object == param);
    slots().map(|it| it.name).find(|&name| name != "action" && (name == param || is_part(name)))
}

/// A text as JSON that fits its field; nothing when there is nothing in it.
fn value(slot: &Slot, text: &str) -> Result<Option<Value>, ApiError> {
    let word = text.trim();
    let as_text = || Value::String(word.to_owned());
    Ok(Some(match slot.kind {
        FieldType::Variables => {
            let variables = variables(slot.name, text)?;
            // An empty object removes them all, which has to be said.
            if variables.is_empty() && word != "{}" {
                return Ok(None);
            }
            Value::Object(variables)
        }
        FieldType::Integer { .. } => word.parse::<u64>().map_or_else(|_| as_text(), Value::from),
        FieldType::Boolean => match word {
            "true" | "on" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => as_text(),
        },
        FieldType::Text
        | FieldType::Choice(_)
        | FieldType::Version
        | FieldType::Confirmation
        | FieldType::Object(_) => as_text(),
    }))
}

/// Lines of `NAME=value`. A value may be a secret: no message repeats a line.
fn variables(field: &'static str, text: &str) -> Result<Map<String, Value>, ApiError> {
    let mut variables = Map::new();
    if text.trim() == "{}" {
        return Ok(variables);
    }
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let wrong = |what: &str| ApiError::invalid(field, format!("`{field}`: line {} {what}", index + 1));
        let (name, value) = line.split_once('=').ok_or_else(|| wrong("is not `NAME=value`"))?;
        if name.trim().is_empty() {
            return Err(wrong("has no name before its `=`"));
        }
        let before = variables.insert(name.trim().to_owned(), Value::String(value.to_owned()));
        if before.is_some() {
            return Err(wrong("has a name that another line has already"));
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::*;

    const NUMBERS: Numbers = Numbers { max_replicas: 50, stop_grace_s: 30 };

    fn typed(pairs: &[(&str, &str)]) -> Typed {
        Typed::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn error(param: &'static str) -> ErrorObject {
        let (kind, code) = ("invalid_request_error", "invalid_value".into());
        ErrorObject { message: "`container_port` is wrong".to_owned(), kind, param: Some(Cow::Borrowed(param)), code }
    }

    #[test]
    fn what_is_typed_becomes_the_body_that_the_api_takes() {
        let typed = typed(&[
            ("action", "deploy"),
            ("token", "of the form"),
            ("github_repo_url", " https://git.example.test/notes.git "),
            ("git_ref", " "),
            ("scale_replicas", "2"),
            ("container_port", "many"),
            ("keep_target", "true"),
            ("environment", "# words\r\nNAME=a=b\r\n\r\nEMPTY=\r\n"),
            ("build_args", "# nothing"),
            ("aws_credentials.aws_region", "eu-central-1"),
            ("confirm", "true"),
        ]);

        let body = Value::Object(typed.body().unwrap());

        let expected = json!({
            "action": "deploy",
            "github_repo_url": "https://git.example.test/notes.git",
            "scale_replicas": 2,
            "container_port": "many",
            "keep_target": true,
            "environment": {"NAME": "a=b", "EMPTY": ""},
            "aws_credentials": {"aws_region": "eu-central-1"},
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_wrong_line_is_told_by_its_number_and_not_repeated() {
        let message = |text: &str| typed(&[("environment", text)]).body().unwrap_err().to_string();

        assert_eq!(message("A=1\nhunter2"), "`environment`: line 2 is not `NAME=value`");
        assert_eq!(message("A=1\n =hunter2"), "`environment`: line 2 has no name before its `=`");
        assert!(message("A=1\nA=2").starts_with("`environment`: line 2 has a name"));
        assert_eq!(typed(&[("environment", "{}")]).body().unwrap()["environment"], json!({}));
    }

    #[test]
    fn no_secret_comes_back_into_a_page() {
        let typed = typed(&[("github_repo_url", "https://git.example.test/a b.git"), ("git_token", "hunter2")]);

        let fields = typed.fields(&Faults::default(), NUMBERS);

        assert_eq!(typed.page(), "/new?github_repo_url=https%3A%2F%2Fgit.example.test%2Fa+b.git");
        assert_eq!(fields["git_token"].value, "");
        assert!(fields["git_token"].is_asked_again && !fields["environment"].is_asked_again);
        let again = FieldLink { id: "field-git_token".to_owned(), text: "Access token of the repository".to_owned() };
        assert_eq!(typed.secrets(), [again]);
    }

    #[test]
    fn an_error_is_at_its_field_or_on_top() {
        let at_field = Faults::of(error("git_ref"), &[], &[], &Typed::default());
        let at_part = Faults::of(error("aws_credentials"), &[], &["aws_credentials"], &Typed::default());
        let on_top = Faults::of(error("action"), &[], &[], &Typed::default());

        assert_eq!((at_field.of_fields["git_ref"].as_str(), at_field.message), ("“Port” is wrong", None));
        assert_eq!(at_part.of_fields.keys().collect::<Vec<_>>(), ["aws_credentials.aws_access_key_id"]);
        assert_eq!((on_top.of_fields.len(), on_top.message.as_deref()), (0, Some("“Port” is wrong")));
    }

    #[test]
    fn everything_that_is_wrong_has_its_link() {
        let faults = Faults::of(error("git_ref"), &[error("build_target")], &["github_repo_url"], &Typed::default());

        let links: Vec<(&str, &str)> = faults.links.iter().map(|it| (it.id.as_str(), it.text.as_str())).collect();
        let expected = [
            ("field-github_repo_url", "“Repository” is needed."),
            ("field-git_ref", "“Branch, tag or commit”: “Port” is wrong"),
            ("field-build_target", "“Stage of the Dockerfile”: “Port” is wrong"),
        ];
        assert_eq!((links.as_slice(), faults.message), (expected.as_slice(), None));
    }

    #[test]
    fn controls_are_in_the_order_of_the_page() {
        let page = include_str!("../../../../templates/console/new.html");
        let place = |name: &str| {
            let part = if name.contains('.') { format!("fields[\"{name}\"]") } else { format!("fields.{name}") };
            page.find(&part)
        };

        let places: Vec<Option<usize>> = ON_PAGE.into_iter().map(place).collect();

        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
        // The mode has controls of its own.
        assert_eq!(page.matches("field(fields").count() + 1, ON_PAGE.len());
        let is_behind = |name: &&str| place(name) > page.find("<details");
        assert_eq!(ON_PAGE.into_iter().filter(is_behind).collect::<Vec<_>>(), ADVANCED);
        let of_page: Vec<&str> = slots().map(|it| it.name).filter(|it| ON_PAGE.contains(it)).collect();
        assert_eq!(of_page, ON_PAGE);
        let faults =
            Faults::of(error("git_token"), &[error("deployment_mode")], &["github_repo_url"], &Typed::default());
        let ids: Vec<&str> = faults.links.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, ["field-github_repo_url", "field-git_token", "field-deployment_mode"]);
    }

    #[test]
    fn a_hint_says_numbers_where_settings_hold_them() {
        let fields = Typed::default().fields(&Faults::default(), NUMBERS);

        assert_eq!(fields["scale_replicas"].about, "Number of replicas from 0 to 50; on deploy the initial count.");
        assert!(fields["stop_grace_s"].about.contains("; 30 without it"));
    }

    #[test]
    fn what_is_wrong_is_shown_again_and_the_rest_goes_along() {
        let typed = typed(&[("action", "scale"), ("instance_id", "dep_1"), ("scale_replicas", "3")]);

        let faults = Faults::of(error("aws_credentials"), &[], &["aws_credentials"], &typed);
        let (shown, hidden) = typed.retry(&faults, NUMBERS);

        assert_eq!(shown.len(), 4);
        assert_eq!(hidden.iter().map(|it| it.name).collect::<Vec<_>>(), ["action", "scale_replicas", "instance_id"]);
    }

    #[test]
    fn every_field_that_somebody_may_type_has_a_label() {
        let unlabelled: Vec<&str> =
            slots().map(|it| it.name).filter(|name| label::LABELS.iter().all(|(known, _)| known != name)).collect();

        assert_eq!(unlabelled, ["action", "follow", "tail"]);
    }
}
