//! How a deployment is right now, with the parts that it consists of. Whoever opens a page looks, so looks are few at a time
//! and shared.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::cloud_parts::CloudParts;
use super::live_status::Reached;
use super::looks::Health;
use super::task::run_to_completion;
use super::{App, AppError};
use crate::access::Caller;
use crate::audit::AuditEntry;
use crate::cloud::kube::parts::ApplicationParts;
use crate::id::{Action, Mode};
use crate::intent::AwsCredentials;
use crate::reply::view::LiveStatus;
use crate::store::record::Deployment;

/// How long a look may take, with the wait for its turn.
const DEADLINE: Duration = Duration::from_secs(20);

impl App {
    /// Looks at a deployment. This asks its cluster and AWS, and takes as long as they do, up to a limit. Without credentials
    /// of its own a look is shared with others.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], or [`AppError::Internal`] when the store fails; that nobody answers is none.
    pub async fn health(
        &self,
        caller: &Caller,
        deployment: &Deployment,
        aws: Option<&AwsCredentials>,
    ) -> Result<Health, AppError> {
        let about = |entry: AuditEntry| AuditEntry {
            action: Some(Action::Status),
            deployment: Some(deployment.id),
            deployment_name: Some(deployment.name.to_string()),
            ..entry
        };
        self.permit(caller, caller.may(Action::Status, false), about).await?;
        if aws.is_some() {
            return Ok(Box::pin(self.look(deployment, aws)).await);
        }
        let (app, deployment) = (self.clone(), deployment.clone());
        // Who asks may leave, and the look is for the others too.
        run_to_completion(async move {
            Ok(app.0.looks.shared(deployment.id, || Box::pin(app.look(&deployment, None))).await)
        })
        .await
    }

    /// Whether its cluster can only be asked with credentials that come with the request.
    #[must_use]
    pub fn needs_credentials(&self, deployment: &Deployment) -> bool {
        deployment.mode == Mode::CloudHosted && self.access_keys(None).is_none()
    }

    async fn look(&self, deployment: &Deployment, aws: Option<&AwsCredentials>) -> Health {
        let deadline = Instant::now() + DEADLINE;
        let lacks_credentials = deployment.mode != Mode::Local && self.access_keys(aws).is_none();
        let unseen = |lines: Vec<String>| Health {
            live: LiveStatus { lines, ..LiveStatus::default() },
            failure: None,
            parts: None,
            cloud: CloudParts::default(),
            lacks_credentials,
            looked_at: Timestamp::now(),
        };
        let Ok(Ok(_turn)) = timeout_at(deadline, self.0.looks.room.acquire()).await else {
            return unseen(vec!["many deployments are being looked at; look again in a moment".to_owned()]);
        };
        let of_cluster = async {
            let reached = self.reach(deployment, aws, Some(deadline)).await;
            let asked = async {
                tokio::join!(
                    Box::pin(self.live_status(deployment, &reached)),
                    Box::pin(self.explain(deployment, &reached)),
                    Box::pin(parts(deployment, &reached)),
                )
            };
            let answer = timeout_at(deadline, asked).await;
            (answer, reached.instance)
        };
        let ((answer, instance), cloud) =
            tokio::join!(Box::pin(of_cluster), Box::pin(self.cloud_parts(deployment, aws, deadline)));
        let (line, instance) = instance.map(|it| (it.line, it.status)).unzip();
        let cloud = CloudParts { instance, ..cloud };
        if let Ok((live, failure, parts)) = answer {
            return Health { live, failure, parts, cloud, ..unseen(Vec::new()) };
        }
        let late = format!("its cluster has not answered within {} s", DEADLINE.as_secs());
        Health { cloud, ..unseen(line.into_iter().chain([late]).collect()) }
    }

    /// Looks at what a deployment owns in AWS beside an instance.
    async fn cloud_parts(
        &self,
        deployment: &Deployment,
        aws: Option<&AwsCredentials>,
        deadline: Instant,
    ) -> CloudParts {
        let target = timeout_at(deadline, self.0.store.target(deployment.target)).await;
        let target = target.ok().and_then(Result::ok).flatten();
        let (Some(cluster), Some(keys)) = (target.and_then(|it| it.cluster), self.access_keys(aws)) else {
            return CloudParts::default();
        };
        CloudParts::on_cluster(&cluster, &deployment.facts, keys, deadline).await
    }
}

async fn parts(deployment: &Deployment, reached: &Reached) -> Option<ApplicationParts> {
    // Why nobody answers is told by `live_status`.
    let kube = reached.kube.as_ref().ok()?;
    let secret = deployment.facts.version.as_ref().and_then(|it| it.environment_secret.as_deref());
    // Boxed: what asks for so many things is large.
    Box::pin(kube.parts(&deployment.name, &deployment.namespace, secret)).await.ok()
}
