//! Explicit body fields to a request: one table of our fields, from which values are read and near misses are found.
//!
//! The API document and the help are written from the same table, so a field exists everywhere or nowhere.

use std::borrow::Cow;

use serde_json::{Map, Value};
use strum::VariantNames;

use crate::config::value::MAX_STOP_GRACE_S;
use crate::id::repository_page::RepositoryPage;
use crate::id::{Action, Mode};

use super::partial::{MAX_TAIL, MissingField, PartialRequest};
use super::{IntentError, IntentErrorCode, Limits, Request, Secrets, Source};

pub mod aws_credentials;
pub(super) mod near_miss;
mod value;

use aws_credentials::{AWS_CREDENTIAL_FIELDS, Subfield};
use near_miss::{nearest, unknown};
use value::{FieldContext, FieldError};

/// One field of ours in the body of a chat request.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in the body, or in the object that holds it.
    pub name: &'static str,
    /// What JSON it takes.
    pub kind: FieldType,
    /// What it means and what is allowed, as one sentence.
    pub about: &'static str,
    /// The actions that use it; others check it and leave it alone.
    pub actions: &'static [Action],
    /// The value must not be shown.
    pub secret: bool,
    read: fn(&FieldContext<'_>, &mut PartialRequest) -> Result<(), FieldError>,
}

/// What JSON a field takes. Numbers and booleans may also come as strings.
#[derive(Debug, Clone, Copy)]
pub enum FieldType {
    /// A string.
    Text,
    /// One of some strings.
    Choice(&'static [&'static str]),
    /// A whole number in a range; the upper end of `scale_replicas` is the setting `MAX_REPLICAS`.
    Integer {
        /// The smallest.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// True or false.
    Boolean,
    /// A string or a whole number above 0.
    Version,
    /// True, false or the hash of a plan.
    Confirmation,
    /// An object with these fields.
    Object(&'static [Subfield]),
    /// An object of names to strings, numbers and booleans.
    Variables,
}

const ACTIONS: &[&str] = Action::VARIANTS;
const MODES: &[&str] = Mode::VARIANTS;

const DEPLOY: &[Action] = &[Action::Deploy];
const BUILD: &[Action] = &[Action::Deploy, Action::Redeploy];
const CHANGE: &[Action] = &[
    Action::Deploy,
    Action::Redeploy,
    Action::Scale,
    Action::Restart,
    Action::Rollback,
    Action::Decommission,
    Action::Undo,
];

/// Declares one row of [`FIELDS`].
const fn field(
    name: &'static str,
    kind: FieldType,
    actions: &'static [Action],
    about: &'static str,
    read: fn(&FieldContext<'_>, &mut PartialRequest) -> Result<(), FieldError>,
) -> Field {
    Field { name, kind, about, actions, secret: false, read }
}

/// The field that says that a request is made by fields.
const ACTION: &str = "action";

/// Every field of ours, in the order in which values are checked.
pub const FIELDS: &[Field] = &[
    field(
        ACTION,
        FieldType::Choice(ACTIONS),
        Action::ALL,
        "What to do; without it the last message decides.",
        |cx, _| cx.word(ACTIONS, Action::parse).map(drop),
    ),
    field(
        "deployment_mode",
        FieldType::Choice(MODES),
        Action::ALL,
        "Where it runs: a kind cluster here, a kind cluster on an EC2 instance, or EKS.",
        |cx, values| cx.word(MODES, Mode::parse).map(|it| values.mode = Some(it)),
    ),
    field(
        "github_repo_url",
        FieldType::Text,
        Action::ALL,
        "Git repository (https, ssh or `user@host:path`), without credentials; or its page for a branch, tag, commit, directory, file or pull request.",
        |cx, values| cx.parse(RepositoryPage::parse).map(|it| values.set_page(it)),
    ),
    field(
        "git_ref",
        FieldType::Text,
        BUILD,
        "Branch, tag or commit; without it the one that the deployment has, of a new one the default branch.",
        |cx, values| {
            let git_ref = cx.parse(crate::id::GitRef::parse)?;
            values.set_git_ref(git_ref).map_err(FieldError::value)
        },
    ),
    field(
        "source_directory",
        FieldType::Text,
        Action::ALL,
        "Directory of the repository where the build begins; the root without it. Without `instance_name` it also says which deployment is meant.",
        |cx, values| cx.parse(crate::id::SourceDirectory::parse).map(|it| values.source_directory = Some(it)),
    ),
    field(
        "target_namespace",
        FieldType::Text,
        Action::ALL,
        "Kubernetes namespace (DNS label, not `kube-...`); `default` without it.",
        |cx, values| cx.parse(crate::id::Namespace::parse).map(|it| values.namespace = Some(it)),
    ),
    field(
        "instance_name",
        FieldType::Text,
        Action::ALL,
        "Name of the application (DNS label that starts with a letter), and in the cloud modes of its new EC2 instance or cluster when there is no `instance_id`; derived from the repository without it.",
        |cx, values| cx.parse(crate::id::DeploymentName::parse).map(|it| values.application_name = Some(it)),
    ),
    field(
        "instance_id",
        FieldType::Text,
        Action::ALL,
        "Name of the cluster or EC2 instance, or the id of a deployment.",
        |cx, values| cx.parse(crate::id::TargetName::parse).map(|it| values.target_name = Some(it)),
    ),
    field("public_ip", FieldType::Text, Action::ALL, "Public address of the EC2 instance.", |cx, values| {
        cx.address().map(|it| values.public_ip = Some(it))
    }),
    field(
        "ec2_key_name",
        FieldType::Text,
        Action::ALL,
        "EC2 key pair; its private key is the file of that name below `EC2_PRIVATE_KEY_BASE_PATH`.",
        |cx, values| cx.parse(crate::id::KeyPairName::parse).map(|it| values.key_pair = Some(it)),
    ),
    Field {
        secret: true,
        ..field(
            "aws_credentials",
            FieldType::Object(AWS_CREDENTIAL_FIELDS),
            Action::ALL,
            "AWS credentials for the cloud modes; the settings' own without it.",
            |cx, values| aws_credentials::read(cx).map(|it| values.aws = Some(it)),
        )
    },
    field(
        "base_hosted_zone_id",
        FieldType::Text,
        DEPLOY,
        "Route53 hosted zone of the application's own host name; goes with `app_subdomain_label`.",
        |cx, values| cx.parse(crate::id::HostedZoneId::parse).map(|it| values.zone = Some(it)),
    ),
    field(
        "app_subdomain_label",
        FieldType::Text,
        DEPLOY,
        "First part of the application's own host name; goes with `base_hosted_zone_id`.",
        |cx, values| cx.parse(crate::id::SubdomainLabel::parse).map(|it| values.label = Some(it)),
    ),
    field(
        "scale_replicas",
        FieldType::Integer { min: 0, max: u16::MAX as u32 },
        &[Action::Deploy, Action::Scale],
        "Number of replicas from 0 to `MAX_REPLICAS`; on deploy the initial count.",
        |cx, values| cx.number(0, u32::from(cx.limits.max_replicas)).map(|it| values.replicas = u16::try_from(it).ok()),
    ),
    field(
        "container_port",
        FieldType::Integer { min: 1, max: u16::MAX as u32 },
        BUILD,
        "TCP port that the application listens on; the first of EXPOSE without it.",
        |cx, values| cx.port().map(|it| values.container_port = Some(it)),
    ),
    field(
        "stop_grace_s",
        FieldType::Integer { min: 1, max: MAX_STOP_GRACE_S as u32 },
        BUILD,
        "Seconds that the application has to end after SIGTERM; `STOP_GRACE_S` without it.",
        |cx, values| cx.number(1, u32::from(MAX_STOP_GRACE_S)).map(|it| values.stop_grace_s = u16::try_from(it).ok()),
    ),
    Field {
        secret: true,
        ..field(
            "environment",
            FieldType::Variables,
            BUILD,
            "Environment variables of the application (at most 100, 64 KiB in all); `{}` removes them.",
            |cx, values| cx.environment().map(|it| values.environment = Some(it)),
        )
    },
    field(
        "dockerfile_path",
        FieldType::Text,
        BUILD,
        "Path of the Dockerfile inside `source_directory` or the repository; found without it.",
        |cx, values| cx.parse(crate::id::DockerfilePath::parse).map(|it| values.dockerfile = Some(it)),
    ),
    field(
        "build_target",
        FieldType::Text,
        BUILD,
        "Stage of the Dockerfile that becomes the image, by its name or its number from 0; the last one without it.",
        |cx, values| cx.parse(crate::id::StageName::parse).map(|it| values.build_target = Some(it)),
    ),
    field(
        "build_platform",
        FieldType::Text,
        BUILD,
        "Platform that the image is built for, such as `linux/amd64`; that of Docker without it.",
        |cx, values| cx.parse(crate::id::Platform::parse).map(|it| values.build_platform = Some(it)),
    ),
    field(
        "build_args",
        FieldType::Variables,
        BUILD,
        "Values of the Dockerfile's ARG lines (at most 100, 64 KiB in all), kept and shown; `{}` removes them.",
        |cx, values| cx.build_args().map(|it| values.build_args = Some(it)),
    ),
    Field {
        secret: true,
        ..field(
            "build_secrets",
            FieldType::Variables,
            BUILD,
            "Secrets for `RUN --mount=type=secret,id=<name>` (at most 100, 64 KiB in all); not kept, so a build that needs them wants them again.",
            |cx, values| cx.build_secrets().map(|it| values.build_secrets = Some(it)),
        )
    },
    Field {
        secret: true,
        ..field("git_token", FieldType::Text, BUILD, "Access token of a private repository.", |cx, values| {
            cx.secret(4096).map(|it| values.git_token = Some(it))
        })
    },
    field(
        "rollback_to",
        FieldType::Version,
        &[Action::Rollback],
        "Revision number, or the first 7 digits or more of a commit; the version before without it.",
        |cx, values| cx.version().map(|it| values.rollback_to = Some(it)),
    ),
    field(
        "keep_target",
        FieldType::Boolean,
        &[Action::Deploy, Action::Decommission],
        "Keeps the cluster or instance: of a deploy that failed, or after the last decommission.",
        |cx, values| cx.flag().map(|it| values.keep_target = Some(it)),
    ),
    field(
        "delete_cluster",
        FieldType::Boolean,
        &[Action::Decommission],
        "Deletes the local cluster too, when nothing else runs on it.",
        |cx, values| cx.flag().map(|it| values.delete_cluster = Some(it)),
    ),
    field("follow", FieldType::Boolean, &[Action::Logs], "Goes on with new lines (streams only).", |cx, values| {
        cx.flag().map(|it| values.follow = Some(it))
    }),
    field(
        "tail",
        FieldType::Integer { min: 1, max: MAX_TAIL },
        &[Action::Logs],
        "How many of the last lines of each pod; 100 without it.",
        |cx, values| cx.number(1, MAX_TAIL).map(|it| values.tail = Some(it)),
    ),
    field(
        "confirm",
        FieldType::Confirmation,
        CHANGE,
        "Confirms what the request leads to: `true`, or the hash of the plan that was shown, and then only that plan.",
        |cx, values| cx.confirmation().map(|it| values.confirm = it),
    ),
    field("dry_run", FieldType::Boolean, CHANGE, "Only shows the plan.", |cx, values| {
        cx.flag().map(|it| values.dry_run = Some(it))
    }),
];

/// The fields of the request that `OpenAI` defines, which are never taken for a near miss of ours.
pub const OPENAI_FIELDS: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Reads the request that the fields of a body make; `None` when there is no `action` in it.
///
/// # Errors
/// The first field with a wrong value; else a field that is nearly one of ours; else all that are missing.
pub fn parse(body: &Map<String, Value>, limits: &Limits) -> Result<Option<Request>, IntentError> {
    let values = parse_partial(body, limits)?;
    let Some(action) = present(body, ACTION).and_then(Value::as_str).and_then(|text| Action::parse(text).ok()) else {
        return Ok(None);
    };
    near_miss(body)?;
    values.request(action, Source::Fields, limits).map(Some).map_err(|needs| missing(action, &needs))
}

/// Reads the fields of ours that are present, so that they complete a sentence; `action` is checked and not used.
///
/// # Errors
/// The first field, in the order of [`FIELDS`], with a wrong value.
pub fn parse_partial(body: &Map<String, Value>, limits: &Limits) -> Result<PartialRequest, IntentError> {
    let (values, errors) = parse_each(body, limits);
    errors.into_iter().next().map_or(Ok(values), Err)
}

/// Reads the fields of ours that are present and right, and says what is wrong with each of the others.
#[must_use]
pub fn parse_each(body: &Map<String, Value>, limits: &Limits) -> (PartialRequest, Vec<IntentError>) {
    let (mut values, mut errors) = (PartialRequest::default(), Vec::new());
    for field in FIELDS {
        if let Some(value) = present(body, field.name) {
            let cx = FieldContext { value, limits, name: field.name };
            errors.extend((field.read)(&cx, &mut values).err().map(|error| error.into_error(field.name)));
        }
    }
    (values, errors)
}

/// The fields that a stuck or waiting operation takes when it is resumed.
pub const RESUME_FIELDS: [&str; 2] = ["aws_credentials", "git_token"];

/// Reads what an operation is resumed with; unlike in a chat request, another field is an error.
///
/// # Errors
/// [`IntentError`] names the first field that is wrong.
pub fn parse_resume(body: &Map<String, Value>, limits: &Limits) -> Result<Secrets, IntentError> {
    if let Some(name) = body.keys().find(|name| !RESUME_FIELDS.contains(&name.as_str())) {
        return Err(match nearest(name, RESUME_FIELDS.into_iter()) {
            Some(meant) => unknown(name.clone(), meant),
            None => not_taken(name, "an operation is resumed with `aws_credentials` and `git_token` alone"),
        });
    }
    if let Some(Value::Object(credentials)) = body.get(RESUME_FIELDS[0]) {
        let names = AWS_CREDENTIAL_FIELDS.iter().map(|field| field.name);
        if let Some(name) = credentials.keys().find(|name| !names.clone().any(|it| it == *name)) {
            let path = format!("{}.{name}", RESUME_FIELDS[0]);
            let names: Vec<String> = names.map(|it| format!("`{it}`")).collect();
            return Err(match nearest(name, AWS_CREDENTIAL_FIELDS.iter().map(|field| field.name)) {
                Some(meant) => unknown(path, meant),
                None => not_taken(&path, &format!("it holds {}", names.join(", "))),
            });
        }
    }
    let values = parse_partial(body, limits)?;
    Ok(Secrets { git_token: values.git_token, aws: values.aws, ..Secrets::default() })
}

fn not_taken(name: &str, instead: &str) -> IntentError {
    let shown: String = name.chars().take(80).collect();
    IntentError {
        message: format!("`{shown}` is not a field here: {instead}"),
        param: Some(Cow::Owned(name.to_owned())),
        code: IntentErrorCode::UnknownParameter,
    }
}

/// The value of a field, unless it is null; an empty `action`, as forms send it, is none either.
fn present<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let is_empty_action = |value: &Value| name == ACTION && value.as_str() == Some("");
    body.get(name).filter(|value| !value.is_null()).filter(|value| !is_empty_action(value))
}

/// Refuses a name that is not one of ours but was surely meant to be: left alone it would silently do nothing.
fn near_miss(body: &Map<String, Value>) -> Result<(), IntentError> {
    let ours = || FIELDS.iter().map(|field| field.name);
    for name in body.keys().filter(|name| !OPENAI_FIELDS.contains(&name.as_str())) {
        if let Some(meant) = nearest(name, ours()) {
            return Err(unknown(name.clone(), meant));
        }
    }
    Ok(())
}

/// The one error that names every missing field.
pub(super) fn missing(action: Action, needs: &[MissingField]) -> IntentError {
    let names: Vec<String> = needs.iter().map(|need| format!("`{}`", need.field())).collect();
    let list = match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
        None => String::new(),
    };
    let hint = match needs.first() {
        Some(MissingField::Mode) => ": the mode is one of `local`, `cloud-local`, `cloud-hosted`",
        Some(MissingField::Credentials) => ": the settings hold no AWS credentials",
        _ => "",
    };
    IntentError {
        param: needs.first().map(|need| Cow::Borrowed(need.field())),
        message: format!("`{action}` also needs {list}{hint}"),
        code: IntentErrorCode::MissingRequiredParameter,
    }
}

#[cfg(test)]
mod tests;
