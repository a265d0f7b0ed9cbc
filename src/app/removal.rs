//! The removal of several deployments: one question, and one operation each.
//!
//! All operations are accepted at the same time, so that a restart carries on with every one of them. The last one on a
//! target waits for the others on it, and takes the target with it as the last one does that is removed alone.

use super::accept::{Change, ConfirmationNeeded, accepted, confirmation_needed};
use super::{Accepted, App, AppError};
use crate::access::Caller;
use crate::executor::{self, input::PlanInput};
use crate::id::{DeploymentId, PlanHash};
use crate::intent::selection::SelectionError;
use crate::intent::{Decommission, Intent, Request, Secrets, Selector, wants_confirmation};
use crate::plan::Plan;
use crate::reply::view::{Proposal, RemovalView, RemovedDeployment};
use crate::step::delete_cluster::DeleteCluster;
use crate::step::destroy_cluster::DestroyCluster;
use crate::step::destroy_instance::DestroyInstance;
use crate::store::operations::RequestKey;
use crate::store::record::{Deployment, Target};

/// What became of a request to remove all deployments that fit.
pub(super) enum Removals {
    /// It was accepted, or is only planned so far.
    Accepted(Box<Accepted>),
    /// There is one only: its removal is like any other.
    OnlyOne(Box<Decommission>),
}

impl App {
    /// Removes all deployments that fit, or asks whether that is meant. Called under the accept lock.
    pub(super) async fn remove_all(
        &self,
        caller: &Caller,
        key: Option<&RequestKey>,
        request: &Request,
        wanted: &Decommission,
    ) -> Result<Removals, AppError> {
        let (mut idle, mut busy) = (Vec::new(), Vec::new());
        for deployment in self.matching(caller, &wanted.deployment, request.source).await? {
            match self.0.store.running_operation(deployment.id).await? {
                None => idle.push(deployment),
                Some(operation) => busy.push((deployment, operation)),
            }
        }
        match (idle.as_slice(), busy.as_slice()) {
            ([], []) => {
                let error = self.selected(caller, &wanted.deployment, request.source).await.err();
                let nothing = || SelectionError::NotFound { selector: Box::default(), candidates: Vec::new() }.into();
                return Err(error.unwrap_or_else(nothing));
            }
            ([], [(deployment, operation), ..]) => {
                return Err(AppError::Busy { deployment: deployment.name.to_string(), operation: *operation });
            }
            ([only], []) => {
                let deployment = Selector::of(only.id);
                return Ok(Removals::OnlyOne(Box::new(Decommission { deployment, ..wanted.clone() })));
            }
            (_, _) => (),
        }
        let changes = self.removals(&idle, wanted).await?;
        let hash = self.hash_of_all(&request.intent, &changes).await?;
        let is_wanted = changes.iter().any(|it| wants_confirmation(&it.intent, it.deployment.mode));
        let needed = confirmation_needed(caller, request, is_wanted, &hash)?;
        if request.dry_run || needed.is_some() {
            let deployments = changes
                .into_iter()
                .map(|it| RemovedDeployment { with: what_goes_too(&it.plan, &it.target), deployment: it.deployment });
            let plan_changed = needed.as_ref().is_some_and(|ConfirmationNeeded { plan_changed }| *plan_changed);
            let view = Proposal::Removals(RemovalView { hash, plan_changed, deployments: deployments.collect(), busy });
            if !request.dry_run {
                self.keep_question(caller, view.hash()).await?;
            }
            let accepted = if request.dry_run { Accepted::Plan(view) } else { Accepted::Unconfirmed(view) };
            return Ok(Removals::Accepted(Box::new(accepted)));
        }
        let accepted = accepted(caller, request, &hash);
        let mut ids = Vec::new();
        for (index, change) in changes.into_iter().enumerate() {
            let key = key.map(|it| it.nth(index));
            // Boxed: what an operation is begun with is large.
            ids.push(Box::pin(self.begin(accepted.clone(), key, change, &request.secrets)).await?);
        }
        Ok(Removals::Accepted(Box::new(Accepted::Operations(ids))))
    }

    /// The removal of each, in the order in which they are given.
    async fn removals(&self, deployments: &[Deployment], wanted: &Decommission) -> Result<Vec<Change>, AppError> {
        let present = self.0.store.present_deployments().await?;
        let mut changes = Vec::new();
        for (index, deployment) in deployments.iter().enumerate() {
            let target = self.target_of(deployment).await?;
            let is_on_target = |it: &&Deployment| it.target == target.id;
            let before: Vec<DeploymentId> = deployments[..index].iter().filter(is_on_target).map(|it| it.id).collect();
            let others: Vec<Deployment> = present
                .iter()
                .filter(|it| it.target == target.id && it.id != deployment.id && !before.contains(&it.id))
                .cloned()
                .collect();
            let is_last = others.is_empty();
            let intent = Intent::Decommission(Decommission {
                deployment: Selector::of(deployment.id),
                keep_target: wanted.keep_target || !is_last,
                delete_cluster: wanted.delete_cluster && is_last,
            });
            let plan = executor::plan(
                &intent,
                &PlanInput {
                    deployment,
                    versions: &self.0.store.versions(deployment.id).await?,
                    target: &target,
                    shares_target: !is_last,
                    other_deployments: &others,
                    removed_before: if is_last { &before } else { &[] },
                    replaces_environment: false,
                    settings: &self.0.settings,
                },
            )?;
            changes.push(Change { intent, plan, deployment: deployment.clone(), target });
        }
        Ok(changes)
    }

    /// The hash of all plans together.
    async fn hash_of_all(&self, intent: &Intent, changes: &[Change]) -> Result<PlanHash, AppError> {
        let mut text = serde_json::to_string(intent).map_err(|error| AppError::Internal(error.into()))?;
        for Change { intent, plan, deployment, target } in changes {
            let hash = self.plan_hash(intent, &Secrets::default(), plan, deployment, target).await?;
            text = format!("{text} {hash}");
        }
        Ok(PlanHash::of(&self.0.sealer.mac(&format!("plans {text}"))))
    }
}

/// What a removal takes beside the application.
pub(super) fn what_goes_too(plan: &Plan, target: &Target) -> Option<String> {
    let name = &target.name;
    if plan.parameters::<DestroyInstance>().is_some() {
        Some(format!("the EC2 instance `{name}`"))
    } else if plan.parameters::<DestroyCluster>().is_some() {
        Some(format!("the EKS cluster `{name}` with its network"))
    } else {
        plan.parameters::<DeleteCluster>().filter(|_| target.made_here).map(|_| format!("the kind cluster `{name}`"))
    }
}
