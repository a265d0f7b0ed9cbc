//! What is shown of deployments without asking anybody: all of it is on record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::{App, AppError};
use crate::access::Caller;
use crate::event::OperationState;
use crate::id::{Action, DeploymentId, OperationId, Region};
use crate::reply::view::{OperationView, TargetCost};
use crate::store::deployments::DeploymentFilter;
use crate::store::operation_summaries::OperationSummary;
use crate::store::page::{Page, PageRequest};
use crate::store::record::{Deployment, DeploymentState, Target, Version};
use crate::store::unreadable::UnreadableDeployment;
use crate::tool::terraform::module;

/// How many open operations are told of at the most.
const MOST_OPEN: u32 = 50;

/// For how long a first deploy that failed is told of: longer than a weekend.
const FAILURE_TOLD_FOR: SignedDuration = SignedDuration::from_hours(72);
/// How many of the deployments that were removed are looked through for those.
const LOOKED_THROUGH: u32 = 20;

/// A deployment with what goes with it in a list.
#[derive(Debug, Clone)]
pub struct DeploymentView {
    /// The deployment, or what can be read of it.
    pub deployment: Result<Deployment, UnreadableDeployment>,
    /// What its target costs.
    pub cost: Option<TargetCost>,
    /// The operation that runs on it, or that last changed it.
    pub operation: Option<OperationSummary>,
}

/// A deployment of which nothing is there because its first deploy failed.
#[derive(Debug, Clone)]
pub struct FailedDeploy {
    /// The deployment.
    pub deployment: Deployment,
    /// The deploy.
    pub operation: OperationSummary,
}

/// What is on record of a deployment beside itself.
#[derive(Debug, Clone)]
pub struct DeploymentRecord {
    /// The target that it runs on.
    pub target: Option<Target>,
    /// The versions that can be gone back to, oldest first.
    pub versions: Vec<Version>,
    /// Those operations that rolled these versions out and are still on record.
    pub roll_outs: BTreeMap<OperationId, OperationSummary>,
    /// Its last operations, newest first.
    pub operations: Vec<OperationSummary>,
    /// Where its images lie, when that is a repository which was made for it.
    pub image_place: Option<CloudPlace>,
    /// Where its certificate lies.
    pub certificate_place: Option<CloudPlace>,
}

/// Where in a cloud something lies; `Display` writes it as the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudPlace {
    /// The region.
    pub region: Region,
    /// Number of the account, when it is on record.
    pub account: Option<String>,
}

impl fmt::Display for CloudPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {}", self.region)?;
        self.account.as_ref().map_or(Ok(()), |it| write!(f, " of the account {it}"))
    }
}

impl App {
    /// Deployments with what they cost and their last operations, newest first.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn overview(
        &self,
        caller: &Caller,
        filter: &DeploymentFilter,
        wanted: &PageRequest<DeploymentId>,
    ) -> Result<Page<DeploymentView>, AppError> {
        let page = self.deployments(caller, filter, wanted).await?;
        let readable: Vec<Deployment> = page.items.iter().flatten().cloned().collect();
        let last: BTreeSet<OperationId> = readable.iter().map(|it| it.operation).collect();
        let operations = self.0.store.operation_summaries(&last).await?;
        let costs = self.costs(readable).await?.into_iter();
        let mut costs: BTreeMap<DeploymentId, TargetCost> = costs.map(|it| (it.deployment.id, it.cost)).collect();
        let view = |deployment: Result<Deployment, UnreadableDeployment>| {
            let cost = deployment.as_ref().ok().and_then(|it| costs.remove(&it.id));
            let operation = deployment.as_ref().ok().and_then(|it| operations.get(&it.operation).cloned());
            DeploymentView { deployment, cost, operation }
        };
        Ok(Page { items: page.items.into_iter().map(view).collect(), has_more: page.has_more })
    }

    /// The first deploys that failed lately and left nothing, and after which nothing else came to their place, newest first.
    /// `present` are the newest deployments that are there.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn failed_deploys(
        &self,
        caller: &Caller,
        present: &[DeploymentView],
    ) -> Result<Vec<FailedDeploy>, AppError> {
        let filter = DeploymentFilter { state: Some(DeploymentState::Removed), ..DeploymentFilter::default() };
        let newest = PageRequest { after: None, limit: LOOKED_THROUGH };
        let removed = self.deployments(caller, &filter, &newest).await?.items;
        let removed: Vec<Deployment> = removed.into_iter().flatten().collect();
        let last: BTreeSet<OperationId> = removed.iter().map(|it| it.operation).collect();
        let mut operations = self.0.store.operation_summaries(&last).await?;
        let present = present.iter().filter_map(|it| it.deployment.as_ref().ok());
        let mut taken: BTreeSet<_> = present.map(place).collect();
        let now = Timestamp::now();
        let mut failed = Vec::new();
        for deployment in removed {
            let is_free = taken.insert(place(&deployment));
            let Some(operation) = operations.remove(&deployment.operation) else { continue };
            let is_failure = operation.action == Action::Deploy
                && matches!(operation.state, OperationState::Undone | OperationState::Failed);
            let is_recent = now.duration_since(deployment.updated_at) < FAILURE_TOLD_FOR;
            if is_free && is_failure && is_recent {
                failed.push(FailedDeploy { deployment, operation });
            }
        }
        Ok(failed)
    }

    /// The operations that have not ended, and those that are stuck and that nothing came after, newest first.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn open_operations(&self, caller: &Caller) -> Result<Page<OperationView>, AppError> {
        let open = self.0.store.newest_open_operations(caller.limits(), MOST_OPEN).await?;
        self.operation_page(open).await
    }

    /// Tells of changes to whatever is on record, as far as this server makes them.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.store.changes()
    }

    /// What is on record of a deployment, with so many of its last operations.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn deployment_record(
        &self,
        deployment: &Deployment,
        last_operations: u32,
    ) -> Result<DeploymentRecord, AppError> {
        let store = &self.0.store;
        let versions = store.versions(deployment.id).await?;
        let roll_outs = versions.iter().map(|it| it.operation).collect();
        let workspaces = store.terraform_workspaces(deployment.target, deployment.id).await?;
        let place = |module: &str| {
            let (_, record) = workspaces.iter().find(|(name, _)| name == module)?;
            Some(CloudPlace { region: record.region.clone(), account: record.account.clone() })
        };
        Ok(DeploymentRecord {
            target: store.target(deployment.target).await?,
            roll_outs: store.operation_summaries(&roll_outs).await?,
            versions,
            operations: store.last_operations(deployment.id, last_operations).await?,
            image_place: place(module::ECR),
            certificate_place: place(module::CERTIFICATE),
        })
    }
}

/// What a deploy of the same would come to.
fn place(deployment: &Deployment) -> (&'static str, String, String) {
    (deployment.mode.as_str(), deployment.namespace.to_string(), deployment.name.to_string())
}
