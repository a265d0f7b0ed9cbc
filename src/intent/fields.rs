//! Explicit body fields to a request: one table of our fields, from which values are read and near misses are found.
//!
//! The API document and the help are written from the same table, so a field exists everywhere or nowhere.

use std::borrow::Cow;

use serde_json::{Map, Value};
use strum::VariantNames;

use crate::id::{Action, IdError, Mode};

use super::facts::{Facts, Need};
use super::{IntentError, IntentErrorCode, Limits, Request, Source};

mod value;

use value::{Cx, Wrong};

/// One field of ours in the body of a chat request.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in the body, or in the object that holds it.
    pub name: &'static str,
    /// What JSON it takes.
    pub kind: Kind,
    /// What it means and what is allowed, as one sentence.
    pub about: &'static str,
    /// The actions that use it; others check it and leave it alone.
    pub actions: &'static [Action],
    /// The value must not be shown.
    pub secret: bool,
    take: fn(&Cx<'_>, &mut Facts) -> Result<(), Wrong>,
}

/// What JSON a field takes. Numbers and booleans may also come as strings.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
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
    Object(&'static [Part]),
    /// An object of names to strings, numbers and booleans.
    Variables,
}

/// One field of an object that is itself a field.
#[derive(Debug, Clone, Copy)]
pub struct Part {
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

const ACTIONS: &[&str] = Action::VARIANTS;
const MODES: &[&str] = Mode::VARIANTS;

const DEPLOY: &[Action] = &[Action::Deploy];
const BUILD: &[Action] = &[Action::Deploy, Action::Redeploy];
const CHANGE: &[Action] = &[Action::Deploy, Action::Redeploy, Action::Scale, Action::Rollback, Action::Decommission];

/// The fields of AWS credentials.
pub const AWS_PARTS: &[Part] = &[
    Part {
        name: "aws_access_key_id",
        path: "aws_credentials.aws_access_key_id",
        about: "Access key id.",
        required: true,
        secret: true,
    },
    Part {
        name: "aws_secret_access_key",
        path: "aws_credentials.aws_secret_access_key",
        about: "Secret access key.",
        required: true,
        secret: true,
    },
    Part {
        name: "aws_session_token",
        path: "aws_credentials.aws_session_token",
        about: "Session token of temporary credentials.",
        required: false,
        secret: true,
    },
    Part {
        name: "aws_region",
        path: "aws_credentials.aws_region",
        about: "Region such as `eu-central-1`; the setting `AWS_REGION` without it.",
        required: false,
        secret: false,
    },
];

/// Declares one row of [`FIELDS`].
const fn field(
    name: &'static str,
    kind: Kind,
    actions: &'static [Action],
    about: &'static str,
    take: fn(&Cx<'_>, &mut Facts) -> Result<(), Wrong>,
) -> Field {
    Field { name, kind, about, actions, secret: false, take }
}

/// The field that says that a request is made by fields.
const ACTION: &str = "action";

/// Every field of ours, in the order in which values are checked.
pub const FIELDS: &[Field] = &[
    field(ACTION, Kind::Choice(ACTIONS), Action::ALL, "What to do; without it the last message decides.", |cx, _| {
        cx.word(ACTIONS, Action::parse).map(drop)
    }),
    field(
        "deployment_mode",
        Kind::Choice(MODES),
        Action::ALL,
        "Where it runs: a kind cluster here, a kind cluster on an EC2 instance, or EKS.",
        |cx, facts| cx.word(MODES, Mode::parse).map(|it| facts.mode = Some(it)),
    ),
    field(
        "github_repo_url",
        Kind::Text,
        Action::ALL,
        "Git repository (https, ssh or `user@host:path`), without credentials.",
        |cx, facts| cx.parse(crate::id::RepositoryUrl::parse).map(|it| facts.repository = Some(it)),
    ),
    field("git_ref", Kind::Text, BUILD, "Branch, tag or commit; the default branch without it.", |cx, facts| {
        cx.parse(crate::id::GitRef::parse).map(|it| facts.git_ref = Some(it))
    }),
    field(
        "target_namespace",
        Kind::Text,
        Action::ALL,
        "Kubernetes namespace (DNS label, not `kube-...`); `default` without it.",
        |cx, facts| cx.parse(crate::id::Namespace::parse).map(|it| facts.namespace = Some(it)),
    ),
    field(
        "instance_name",
        Kind::Text,
        Action::ALL,
        "Name of the application (DNS label that starts with a letter); derived from the repository without it.",
        |cx, facts| cx.parse(crate::id::DeploymentName::parse).map(|it| facts.name = Some(it)),
    ),
    field(
        "instance_id",
        Kind::Text,
        Action::ALL,
        "Name of the cluster or EC2 instance, or the id of a deployment.",
        |cx, facts| cx.parse(crate::id::InstanceId::parse).map(|it| facts.instance_id = Some(it)),
    ),
    field("public_ip", Kind::Text, Action::ALL, "Public address of the EC2 instance.", |cx, facts| {
        cx.address().map(|it| facts.public_ip = Some(it))
    }),
    field(
        "ec2_key_name",
        Kind::Text,
        Action::ALL,
        "EC2 key pair; its private key is the file of that name below `EC2_PRIVATE_KEY_BASE_PATH`.",
        |cx, facts| cx.parse(crate::id::KeyPairName::parse).map(|it| facts.key_pair = Some(it)),
    ),
    Field {
        secret: true,
        ..field(
            "aws_credentials",
            Kind::Object(AWS_PARTS),
            Action::ALL,
            "AWS credentials for the cloud modes; the settings' own without it.",
            |cx, facts| cx.aws_credentials().map(|it| facts.aws = Some(it)),
        )
    },
    field(
        "base_hosted_zone_id",
        Kind::Text,
        DEPLOY,
        "Route53 hosted zone of the application's own host name; goes with `app_subdomain_label`.",
        |cx, facts| cx.parse(crate::id::HostedZoneId::parse).map(|it| facts.zone = Some(it)),
    ),
    field(
        "app_subdomain_label",
        Kind::Text,
        DEPLOY,
        "First part of the application's own host name; goes with `base_hosted_zone_id`.",
        |cx, facts| cx.parse(crate::id::SubdomainLabel::parse).map(|it| facts.label = Some(it)),
    ),
    field(
        "scale_replicas",
        Kind::Integer { min: 0, max: u16::MAX as u32 },
        &[Action::Deploy, Action::Scale],
        "Number of replicas from 0 to `MAX_REPLICAS`; on deploy the initial count.",
        |cx, facts| cx.number(0, u32::from(cx.limits.max_replicas)).map(|it| facts.replicas = u16::try_from(it).ok()),
    ),
    field(
        "container_port",
        Kind::Integer { min: 1, max: u16::MAX as u32 },
        BUILD,
        "TCP port that the application listens on; the first of EXPOSE without it.",
        |cx, facts| cx.port().map(|it| facts.container_port = Some(it)),
    ),
    Field {
        secret: true,
        ..field(
            "environment",
            Kind::Variables,
            BUILD,
            "Environment variables of the application (at most 100, 64 KiB in all); `{}` removes them.",
            |cx, facts| cx.environment().map(|it| facts.environment = Some(it)),
        )
    },
    field(
        "dockerfile_path",
        Kind::Text,
        BUILD,
        "Path of the Dockerfile inside the repository; found without it.",
        |cx, facts| cx.parse(crate::id::DockerfilePath::parse).map(|it| facts.dockerfile = Some(it)),
    ),
    Field {
        secret: true,
        ..field("git_token", Kind::Text, BUILD, "Access token of a private repository.", |cx, facts| {
            cx.secret(4096).map(|it| facts.git_token = Some(it))
        })
    },
    field(
        "rollback_to",
        Kind::Version,
        &[Action::Rollback],
        "Revision number, or the first 7 digits or more of a commit; the version before without it.",
        |cx, facts| cx.version().map(|it| facts.rollback_to = Some(it)),
    ),
    field(
        "keep_target",
        Kind::Boolean,
        &[Action::Deploy, Action::Decommission],
        "Keeps the cluster or instance: of a deploy that failed, or after the last decommission.",
        |cx, facts| cx.flag().map(|it| facts.keep_target = Some(it)),
    ),
    field(
        "delete_cluster",
        Kind::Boolean,
        &[Action::Decommission],
        "Deletes the local cluster too, when nothing else runs on it.",
        |cx, facts| cx.flag().map(|it| facts.delete_cluster = Some(it)),
    ),
    field("follow", Kind::Boolean, &[Action::Logs], "Goes on with new lines (streams only).", |cx, facts| {
        cx.flag().map(|it| facts.follow = Some(it))
    }),
    field(
        "tail",
        Kind::Integer { min: 1, max: 5000 },
        &[Action::Logs],
        "How many of the last lines of each pod; 100 without it.",
        |cx, facts| cx.number(1, 5000).map(|it| facts.tail = Some(it)),
    ),
    field(
        "confirm",
        Kind::Confirmation,
        CHANGE,
        "Confirms what the request leads to: `true`, or the hash of the plan that was shown, and then only that plan.",
        |cx, facts| cx.confirmation().map(|it| facts.confirm = it),
    ),
    field("dry_run", Kind::Boolean, CHANGE, "Only shows the plan.", |cx, facts| {
        cx.flag().map(|it| facts.dry_run = Some(it))
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
    let facts = facts(body, limits)?;
    let Some(action) = present(body, ACTION).and_then(Value::as_str).and_then(|text| Action::parse(text).ok()) else {
        return Ok(None);
    };
    near_miss(body)?;
    facts.request(action, Source::Fields, limits).map(Some).map_err(|needs| missing(action, &needs))
}

/// Reads the fields of ours that are present, so that they complete a sentence; `action` is checked and not used.
///
/// # Errors
/// The first field, in the order of [`FIELDS`], with a wrong value.
pub fn facts(body: &Map<String, Value>, limits: &Limits) -> Result<Facts, IntentError> {
    let mut facts = Facts::default();
    for field in FIELDS {
        if let Some(value) = present(body, field.name) {
            let cx = Cx { value, limits, name: field.name };
            (field.take)(&cx, &mut facts).map_err(|wrong| wrong.into_error(field))?;
        }
    }
    Ok(facts)
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

/// The error for a name that is nearly another.
pub(super) fn unknown(param: String, meant: &str) -> IntentError {
    let shown: String = param.chars().take(80).collect();
    IntentError {
        message: format!("`{shown}` is not a field, did you mean `{meant}`?"),
        param: Some(Cow::Owned(param)),
        code: IntentErrorCode::UnknownParameter,
    }
}

/// The one of `names` that `name` is a misspelling of; `None` when it is one of them or like none.
pub(super) fn nearest(name: &str, names: impl Iterator<Item = &'static str> + Clone) -> Option<&'static str> {
    if name.len() > 64 || names.clone().any(|it| it == name) {
        return None;
    }
    let plain = plain(name);
    names
        .map(|it| (strsim::osa_distance(&plain, it), it))
        .filter(|(distance, it)| *distance <= (it.len() / 5).min(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

/// A name in snake case: `instanceId` and `Instance-ID` are spellings of `instance_id`.
fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for c in name.chars() {
        if c.is_uppercase() && after_small {
            plain.push('_');
        }
        after_small = c.is_lowercase() || c.is_numeric();
        plain.extend(if matches!(c, '-' | ' ' | '.') { '_' } else { c }.to_lowercase());
    }
    plain
}

/// The one error that names every missing field.
pub(super) fn missing(action: Action, needs: &[Need]) -> IntentError {
    let names: Vec<String> = needs.iter().map(|need| format!("`{}`", need.field())).collect();
    let list = match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
        None => String::new(),
    };
    let hint = match needs.first() {
        Some(Need::Mode) => ": the mode is one of `local`, `cloud-local`, `cloud-hosted`",
        Some(Need::Credentials) => ": the settings hold no AWS credentials",
        _ => "",
    };
    IntentError {
        param: needs.first().map(|need| Cow::Borrowed(need.field())),
        message: format!("`{action}` also needs {list}{hint}"),
        code: IntentErrorCode::MissingRequiredParameter,
    }
}

impl From<IdError> for Wrong {
    fn from(error: IdError) -> Self {
        Self::value(error.to_string())
    }
}

#[cfg(test)]
mod tests;
