//! What the cloud modes, the chat model and the embedding model need. None of it stops local mode.

use std::collections::BTreeSet;
use std::time::Duration;

use super::finding::{Area, Check, Finding, Status, Verdict};
use super::probe;
use crate::cloud::aws::rights::Rights;
use crate::cloud::aws::{AccessKeys, Aws, AwsError};
use crate::cloud::price::Prices;
use crate::config::Settings;
use crate::id::{Mode, Region};
use crate::llm::Model;
use crate::llm::embedding::EmbeddingModel;
use crate::secret::key_file::exposed_mode;
use crate::store::record::Cost;

/// Older ones do not print everything as JSON.
const OLDEST_TERRAFORM: (u32, u32) = (1, 9);

/// How long AWS may take to tell all rights.
const RIGHTS_TIMEOUT: Duration = Duration::from_mins(1);

/// All of them; `mode` is the one that somebody wants, whose programs must be there.
pub(super) fn checks(settings: &Settings, mode: Option<Mode>) -> Vec<Check<'_>> {
    let lacking = if mode.is_some() { Status::Fail } else { Status::Warn };
    vec![
        (Area::CloudLocal, "terraform", Box::pin(terraform(settings, lacking))),
        (Area::CloudLocal, "ssh", Box::pin(ssh(settings, lacking))),
        (Area::CloudLocal, "AWS credentials", Box::pin(async move { credentials(settings) })),
        (Area::CloudLocal, "private keys", Box::pin(async move { private_keys(settings) })),
        (Area::CloudLocal, "source of ssh", Box::pin(async move { ssh_source(settings) })),
        (Area::CloudLocal, "cost", Box::pin(instance_cost(settings))),
        (Area::CloudHosted, "terraform", Box::pin(terraform(settings, lacking))),
        (Area::CloudHosted, "helm", Box::pin(helm(settings, lacking))),
        (Area::CloudHosted, "AWS credentials", Box::pin(async move { credentials(settings) })),
        (Area::CloudHosted, "domain", Box::pin(async move { domain(settings) })),
        (Area::CloudHosted, "cost", Box::pin(cluster_cost(settings))),
        (Area::ChatModel, "chat model", Box::pin(chat_model(settings))),
        (Area::ChatModel, "embedding model", Box::pin(embedding_model(settings))),
    ]
}

async fn terraform(settings: &Settings, lacking: Status) -> Verdict {
    let remedy = "install terraform or tofu, or set `TERRAFORM_PROGRAM`";
    warned(probe::version(&settings.terraform.program, &["version"], remedy).await, lacking, |text| {
        probe::major_minor(text).filter(|it| *it < OLDEST_TERRAFORM)?;
        Some(format!("install {}.{} or newer", OLDEST_TERRAFORM.0, OLDEST_TERRAFORM.1))
    })
}

async fn ssh(settings: &Settings, lacking: Status) -> Verdict {
    let remedy = "install OpenSSH's client, or set `SSH_PROGRAM`";
    warned(probe::version(&settings.ssh.program, &["-V"], remedy).await, lacking, |_| None)
}

/// Makes a missing program of a cloud mode a warning, unless that mode is wanted.
fn warned(version: Result<String, Verdict>, lacking: Status, advice: impl Fn(&str) -> Option<String>) -> Verdict {
    match version {
        Ok(text) => match advice(&text) {
            Some(advice) => Verdict::warn(text, advice),
            None => Verdict::ok(text),
        },
        Err(verdict) => Verdict { status: lacking, ..verdict },
    }
}

/// Which of the rights of a mode on AWS the credentials lack; nothing when no such mode was asked for.
pub(super) async fn rights(settings: &Settings, mode: Option<Mode>) -> Option<Finding> {
    let mode = mode.filter(|it| *it != Mode::Local)?;
    let aws = &settings.aws;
    let has_credentials = aws.credentials.is_some() || aws.default_credentials;
    let verdict = match &aws.region {
        Some(region) if has_credentials => {
            let keys = aws.credentials.as_ref().map(AccessKeys::from);
            let asked = async { Aws::connect(region, keys).await?.rights(mode).await };
            match tokio::time::timeout(RIGHTS_TIMEOUT, asked).await {
                Ok(answer) => of_rights(mode, answer),
                Err(_) => {
                    Verdict::fail("AWS gave no answer within a minute", "see whether AWS is reached, then try again")
                }
            }
        }
        Some(_) | None => Verdict::warn(
            "not asked, as there are no AWS credentials with a region",
            "set `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION` to have them checked",
        ),
    };
    Some(verdict.of(Area::of(mode), "AWS rights"))
}

fn of_rights(mode: Mode, answer: Result<Rights, AwsError>) -> Verdict {
    let rights = match answer {
        Ok(rights) => rights,
        Err(error) => return Verdict::fail(error.to_string(), "correct the AWS credentials, then try again"),
    };
    let list = |actions: BTreeSet<String>| actions.into_iter().collect::<Vec<_>>().join(", ");
    let policies = format!("attach the policies `{mode}*.json` of terraform/iam, as its README says");
    let unknown = match rights.unknown.len() {
        0 => String::new(),
        count => format!(
            "; these credentials may not ask IAM (`iam:SimulatePrincipalPolicy`), and {count} of {} actions cannot be tried \
             without doing them: {}",
            rights.count,
            list(rights.unknown)
        ),
    };
    match (rights.missing.is_empty(), unknown.is_empty()) {
        (true, true) => Verdict::ok(format!("all {} actions that the mode takes are allowed", rights.count)),
        (true, false) => Verdict::warn(format!("none is seen to be missing{unknown}"), policies),
        (false, _) => Verdict::fail(format!("missing: {}{unknown}", list(rights.missing)), policies),
    }
}

fn ssh_source(settings: &Settings) -> Verdict {
    let ec2 = &settings.ec2;
    match ec2.ssh_allowed_cidr {
        Some(cidr) => Verdict::ok(format!("instances accept ssh from {cidr}")),
        None => Verdict::ok(format!("instances accept ssh from the address that {} tells", ec2.public_ip_url)),
    }
}

async fn instance_cost(settings: &Settings) -> Verdict {
    let ec2 = &settings.ec2;
    let what = format!("a `{}`", ec2.instance_type);
    let Some((region, aws)) = aws_for_prices(settings).await else { return no_region() };
    cost(&what, region, Prices::default().instance(aws.as_ref(), region, &ec2.instance_type, ec2.volume_gib).await)
}

async fn cluster_cost(settings: &Settings) -> Verdict {
    let eks = &settings.eks;
    let what = format!("a cluster with {} nodes of type `{}`", eks.nodes, eks.instance_type);
    let Some((region, aws)) = aws_for_prices(settings).await else { return no_region() };
    cost(&what, region, Prices::default().cluster(aws.as_ref(), region, eks.into()).await)
}

/// The region of the settings, and AWS where they hold credentials for it.
async fn aws_for_prices(settings: &Settings) -> Option<(&Region, Option<Aws>)> {
    let region = settings.aws.region.as_ref()?;
    let keys = settings.aws.credentials.as_ref().map(AccessKeys::from);
    let aws = if keys.is_some() { Aws::connect(region, keys).await.ok() } else { None };
    Some((region, aws))
}

fn no_region() -> Verdict {
    Verdict::ok("depends on the region of the request")
}

fn cost(what: &str, region: &Region, cost: Option<Cost>) -> Verdict {
    match cost {
        Some(cost) => Verdict::ok(format!("{what} in {region} costs {cost}")),
        None => Verdict::ok(format!("what {what} in {region} costs is not known here")),
    }
}

async fn helm(settings: &Settings, lacking: Status) -> Verdict {
    let remedy = "install helm, or set `HELM_PROGRAM`";
    warned(probe::version(&settings.helm.program, &["version", "--short"], remedy).await, lacking, |_| None)
}

fn credentials(settings: &Settings) -> Verdict {
    match (&settings.aws.credentials, &settings.aws.region) {
        (Some(_), Some(region)) => Verdict::ok(format!("set, for {region}")),
        (Some(_), None) => {
            Verdict::warn("set, without a region", "set `AWS_REGION`, or send `aws_region` with each request")
        }
        (None, _) if settings.aws.default_credentials => Verdict::ok("those that AWS' own tools find here"),
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
        Ok(entries) => {
            let open = entries
                .flatten()
                .filter(|it| it.metadata().is_ok_and(|it| exposed_mode(&it).is_some() && it.is_file()));
            match open.count() {
                0 => Verdict::ok(format!("`{}` can be read", path.display())),
                count => Verdict::warn(
                    format!("{count} files in `{}` can be read by others", path.display()),
                    "run `chmod 600` on them: ssh refuses such keys",
                ),
            }
        }
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
    let Some(model) = Model::from_settings(settings) else {
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

async fn embedding_model(settings: &Settings) -> Verdict {
    let llm = &settings.llm;
    let Some(model) = EmbeddingModel::from_settings(settings) else {
        return if llm.embedding_deployment.is_some() {
            Verdict::warn(
                "`AZURE_EMBEDDING_DEPLOYMENT` is set without an endpoint and a key",
                "set `AZURE_OPENAI_ENDPOINT` and `AZURE_OPENAI_API_KEY`, or leave it out",
            )
        } else if llm.embedding_model.is_some() {
            Verdict::warn("`LLM_EMBEDDING_MODEL` is set without an endpoint", "set `LLM_BASE_URL`, or leave it out")
        } else {
            Verdict::ok("none set: `POST /v1/embeddings` answers that there is none")
        };
    };
    match model.check().await {
        Ok(()) => Verdict::ok(format!("`{}` answers at {}", model.name(), model.address())),
        Err(error) => Verdict::warn(error.to_string(), "correct the settings of the embedding model, or go without it"),
    }
}
