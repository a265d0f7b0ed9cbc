//! What is shown of deployments without asking anybody: all of it is on record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tokio::sync::watch;

use super::{App, AppError};
use crate::access::Caller;
use crate::id::{DeploymentId, OperationId, Region};
use crate::reply::view::{OperationView, TargetCost};
use crate::store::deployments::DeploymentFilter;
use crate::store::operation_summaries::OperationSummary;
use crate::store::page::{Page, PageRequest};
use crate::store::record::{Deployment, Target, Version};
use crate::store::unreadable::UnreadableDeployment;
use crate::tool::terraform::module;

/// How many open operations are told of at the most.
const MOST_OPEN: u32 = 50;

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
