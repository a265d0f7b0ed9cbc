//! What the cloud modes and the chat model need. None of it stops local mode.

use std::path::Path;

use super::{Area, Check, Status, Verdict, probe};
use crate::config::Settings;
use crate::llm::Model;

pub(super) fn checks(settings: &Settings) -> Vec<Check<'_>> {
    vec![
        (Area::CloudLocal, "terraform", Box::pin(program("terraform", &["version"]))),
        (Area::CloudLocal, "ssh", Box::pin(program("ssh", &["-V"]))),
        (Area::CloudLocal, "AWS credentials", Box::pin(async move { credentials(settings) })),
        (Area::CloudLocal, "private keys", Box::pin(async move { private_keys(settings) })),
        (Area::CloudHosted, "terraform", Box::pin(program("terraform", &["version"]))),
        (Area::CloudHosted, "helm", Box::pin(program("helm", &["version", "--short"]))),
        (Area::CloudHosted, "AWS credentials", Box::pin(async move { credentials(settings) })),
        (Area::CloudHosted, "domain", Box::pin(async move { domain(settings) })),
        (Area::ChatModel, "chat model", Box::pin(chat_model(settings))),
    ]
}

async fn program(name: &'static str, arguments: &'static [&'static str]) -> Verdict {
    let remedy = format!("install {name}; this mode needs it");
    match probe::version(Path::new(name), arguments, &remedy).await {
        Ok(text) => Verdict::ok(text),
        Err(verdict) => Verdict { status: Status::Warn, ..verdict },
    }
}

fn credentials(settings: &Settings) -> Verdict {
    match (&settings.aws.credentials, &settings.aws.region) {
        (Some(_), Some(region)) => Verdict::ok(format!("set, for {region}")),
        (Some(_), None) => {
            Verdict::warn("set, without a region", "set `AWS_REGION`, or send `aws_region` with each request")
        }
        (None, _) => Verdict::warn(
            "not set",
            "set `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION`, or send `aws_credentials` with each request",
        ),
    }
}

fn private_keys(settings: &Settings) -> Verdict {
    let Some(path) = &settings.ssh.private_key_base_path else {
        return Verdict::warn(
            "no directory set",
            "set `EC2_PRIVATE_KEY_BASE_PATH` to where the keys of the EC2 key pairs lie",
        );
    };
    match std::fs::read_dir(path) {
        Ok(entries) => Verdict::ok(format!("`{}` holds {} files", path.display(), entries.count())),
        Err(error) => {
            let found = format!("`{}` cannot be read ({error})", path.display());
            Verdict::warn(found, "correct `EC2_PRIVATE_KEY_BASE_PATH`, or the directory's permissions")
        }
    }
}

fn domain(settings: &Settings) -> Verdict {
    match &settings.ingress.default_domain {
        Some(domain) => Verdict::ok(format!("`{domain}`")),
        None => {
            Verdict::ok("none set: a request's hosted zone gives its own name, else the load balancer's name is used")
        }
    }
}

async fn chat_model(settings: &Settings) -> Verdict {
    let llm = &settings.llm;
    let Some(model) = Model::of_settings(settings) else {
        let needed = [
            ("`AZURE_OPENAI_API_KEY`", llm.api_key.is_some()),
            ("`AZURE_OPENAI_ENDPOINT`", llm.endpoint.is_some()),
            ("`AZURE_OPENAI_DEPLOYMENT`", llm.deployment.is_some()),
        ];
        let missing: Vec<&str> = needed.iter().filter(|(_, is_set)| !is_set).map(|(name, _)| *name).collect();
        return if missing.len() == needed.len() {
            Verdict::warn("not set", "nothing to do: explicit fields and plain sentences work without")
        } else {
            Verdict::warn(format!("{} not set", missing.join(", ")), "set it, or the chat model stays off")
        };
    };
    match model.check().await {
        Ok(()) => Verdict::ok(format!("`{}` answers at {}", model.name(), model.address())),
        Err(error) => Verdict::warn(error.to_string(), "correct the settings of the chat model, or go without it"),
    }
}
