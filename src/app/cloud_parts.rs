//! How the things in AWS are that a deployment owns, as AWS says.

use tokio::time::{Instant, timeout_at};

use crate::cloud::aws::{AccessKeys, Aws, AwsError};
use crate::step::aws_access::require_same_account;
use crate::step::error::StepError;
use crate::store::record::{ApplicationHost, DeploymentFacts, EksCluster};

/// Why something is not known that was asked for.
pub(super) const LATE: &str = "no answer in time";
/// Why the others are not known when the cluster tells why AWS cannot be asked.
const UNASKED: &str = "AWS was not asked";

/// The things in AWS that a deployment owns; nothing of those that it does not have, or of which AWS was not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudParts {
    /// The EC2 instance that it runs on.
    pub instance: Option<CloudStatus>,
    /// The EKS cluster that it runs on.
    pub cluster: Option<CloudStatus>,
    /// The load balancer of that cluster.
    pub load_balancer: Option<CloudStatus>,
    /// The certificate of its host name.
    pub certificate: Option<CloudStatus>,
    /// The DNS record of its host name.
    pub alias: Option<CloudStatus>,
    /// The ECR repository of its images.
    pub repository: Option<CloudStatus>,
}

/// How something in AWS is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloudStatus {
    /// It works, in these words.
    Working(String),
    /// It does not, or not yet.
    Impaired {
        /// How it is, in one or two words.
        word: String,
        /// Why, when AWS tells.
        reason: Option<String>,
    },
    /// Nobody can tell, for this reason.
    Unknown(String),
}

impl CloudStatus {
    /// Of AWS' word, which is in capitals and with underscores for some services.
    pub(super) fn new(word: &str, is_working: bool, reason: Option<String>) -> Self {
        let word = word.to_lowercase().replace('_', " ");
        if is_working { Self::Working(word) } else { Self::Impaired { word, reason } }
    }

    /// Of something that AWS does not have.
    pub(super) fn missing() -> Self {
        Self::Impaired { word: "missing".to_owned(), reason: None }
    }
}

impl CloudParts {
    /// Looks at what a deployment on an EKS cluster owns, until a deadline.
    pub(super) async fn on_cluster(
        known: &EksCluster,
        facts: &DeploymentFacts,
        keys: Option<AccessKeys>,
        deadline: Instant,
    ) -> Self {
        let connected = async { client(known, keys).await.map_err(|error| error.to_string()) };
        let aws = in_time(Some(deadline), Err(LATE.to_owned()), Box::pin(connected)).await;
        let of_cluster = aws.as_ref().map_err(String::as_str);
        let of_others = of_cluster.map_err(|_| UNASKED);
        let balancer = facts.nlb_dns_name.as_deref();
        let repository_name = facts.ecr_repository_url.as_deref().and_then(|it| it.split_once('/')).map(|it| it.1);
        let (cluster, load_balancer, certificate, alias, repository) = tokio::join!(
            look(of_cluster, deadline, Some(known.name.as_str()), cluster),
            look(of_others, deadline, balancer, load_balancer),
            look(of_others, deadline, facts.acm_certificate_arn.as_deref(), certificate),
            look(of_others, deadline, facts.host.as_ref().zip(balancer), alias),
            look(of_others, deadline, repository_name, repository),
        );
        Self { instance: None, cluster, load_balancer, certificate, alias, repository }
    }
}

/// A client whose credentials are of the account that the cluster is in: another one knows nothing of what is there.
async fn client(cluster: &EksCluster, keys: Option<AccessKeys>) -> Result<Aws, StepError> {
    let aws = Aws::connect(&cluster.region, keys).await?;
    require_same_account(&aws, cluster).await?;
    Ok(aws)
}

/// How something is, if there is such a thing.
async fn look<'a, T, F: Future<Output = Result<CloudStatus, AwsError>>>(
    aws: Result<&'a Aws, &str>,
    deadline: Instant,
    thing: Option<T>,
    ask: impl FnOnce(&'a Aws, T) -> F,
) -> Option<CloudStatus> {
    let thing = thing?;
    let answer = match aws {
        Ok(aws) => ask(aws, thing),
        Err(reason) => return Some(CloudStatus::Unknown(reason.to_owned())),
    };
    let status = async { answer.await.unwrap_or_else(|error| CloudStatus::Unknown(error.to_string())) };
    Some(in_time(Some(deadline), CloudStatus::Unknown(LATE.to_owned()), Box::pin(status)).await)
}

/// What comes of something before a deadline, if there is one; else what is said of one that is late.
pub(super) async fn in_time<T>(deadline: Option<Instant>, late: T, work: impl Future<Output = T>) -> T {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.unwrap_or(late),
        None => work.await,
    }
}

async fn cluster(aws: &Aws, name: &str) -> Result<CloudStatus, AwsError> {
    let Some(found) = aws.cluster(name).await? else { return Ok(CloudStatus::missing()) };
    // While something of it is changed it goes on working.
    let is_working = matches!(found.status.as_str(), "ACTIVE" | "UPDATING") && found.issues.is_empty();
    let reason = (!found.issues.is_empty()).then(|| found.issues.join("; "));
    Ok(CloudStatus::new(&found.status, is_working, reason))
}

async fn load_balancer(aws: &Aws, dns_name: &str) -> Result<CloudStatus, AwsError> {
    let found = aws.load_balancer(dns_name).await?;
    Ok(found.map_or_else(CloudStatus::missing, |it| CloudStatus::new(&it.state, it.state == "active", None)))
}

async fn certificate(aws: &Aws, arn: &str) -> Result<CloudStatus, AwsError> {
    let Some(found) = aws.certificate(arn).await? else { return Ok(CloudStatus::missing()) };
    let reason = found.failure.filter(|it| *it != found.status);
    Ok(CloudStatus::new(&found.status, found.is_issued, reason))
}

async fn alias(aws: &Aws, (host, balancer): (&ApplicationHost, &str)) -> Result<CloudStatus, AwsError> {
    let Some(points_to) = aws.find_record(&host.zone, &host.name).await? else { return Ok(CloudStatus::missing()) };
    Ok(if points_to.eq_ignore_ascii_case(balancer) {
        CloudStatus::Working("points to the load balancer".to_owned())
    } else {
        CloudStatus::Impaired { word: "points elsewhere".to_owned(), reason: Some(format!("it points to {points_to}")) }
    })
}

async fn repository(aws: &Aws, name: &str) -> Result<CloudStatus, AwsError> {
    let is_there = aws.has_repository(name).await?;
    Ok(if is_there { CloudStatus::Working("there".to_owned()) } else { CloudStatus::missing() })
}
