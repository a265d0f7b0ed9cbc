//! How a deployment is right now, with the parts that it consists of. Whoever opens a page looks, so looks are few at a time
//! and shared.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

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
            lacks_credentials,
            looked_at: Timestamp::now(),
        };
        let Ok(Ok(_turn)) = timeout_at(deadline, self.0.looks.room.acquire()).await else {
            return unseen(vec!["many deployments are being looked at; look again in a moment".to_owned()]);
        };
        let reached = self.reach(deployment, aws, Some(deadline)).await;
        let asked = async {
            tokio::join!(
                Box::pin(self.live_status(deployment, &reached)),
                Box::pin(self.explain(deployment, &reached)),
                Box::pin(parts(deployment, &reached)),
            )
        };
        if let Ok((live, failure, parts)) = timeout_at(deadline, asked).await {
            return Health { live, failure, parts, ..unseen(Vec::new()) };
        }
        let late = format!("its cluster has not answered within {} s", DEADLINE.as_secs());
        unseen(reached.instance.into_iter().chain([late]).collect())
    }
}

async fn parts(deployment: &Deployment, reached: &Reached) -> Option<ApplicationParts> {
    // Why nobody answers is told by `live_status`.
    let kube = reached.kube.as_ref().ok()?;
    kube.parts(&deployment.name, &deployment.namespace).await.ok()
}
