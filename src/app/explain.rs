//! Why something is not well: what the cluster says now, else what the last operation came to.

use std::time::Duration;

use super::live_status::Reached;
use super::{App, AppError, candidate};
use crate::access::Caller;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::rollout;
use crate::event::{Failure, OperationState};
use crate::intent::selection::{self, Candidate};
use crate::intent::{Selector, Source};
use crate::secret::Redactor;
use crate::store::operations::OperationFilter;
use crate::store::page::PageRequest;
use crate::store::record::{Deployment, Operation};

/// How many of the last operations are looked at for one on a deployment that is gone.
const LOOKED_AT: u32 = 20;

impl App {
    /// Why a deployment does not serve as it should; `None` when it does, or when nobody can tell.
    pub(super) async fn explain(&self, deployment: &Deployment, reached: &Reached) -> Option<Failure> {
        if let Some(failure) = self.diagnose(deployment, reached).await {
            return Some(failure);
        }
        let operation = self.0.store.operation(deployment.operation).await.ok()??;
        match operation.state {
            OperationState::Failed | OperationState::Undone => operation.failure,
            OperationState::Stuck => self.told(operation).failure,
            OperationState::Queued
            | OperationState::Running
            | OperationState::Waiting
            | OperationState::Succeeded
            | OperationState::Cancelled => None,
        }
    }

    async fn diagnose(&self, deployment: &Deployment, reached: &Reached) -> Option<Failure> {
        let kube = reached.kube.as_ref().ok()?;
        let live = kube.live_deployment(&deployment.name, &deployment.namespace).await.ok()??;
        if live.ready >= live.replicas {
            return None;
        }
        let waited = deployment.updated_at.duration_until(jiff::Timestamp::now()).unsigned_abs();
        let waited = waited.min(self.0.settings.rollout.timeout).max(Duration::from_secs(1));
        let redactor = Redactor::from_settings(&self.0.settings);
        let (name, namespace) = (&deployment.name, &deployment.namespace);
        let version = deployment.facts.version.as_ref();
        let facts = version.map(|it| Facts::of_port(it.port_source, it.main_port, &it.ports)).unwrap_or_default();
        let found = rollout::diagnose(kube, name, namespace, waited, &redactor, &facts, |_| async { None });
        let found = Box::pin(found).await.ok()?;
        Some(Failure {
            code: found.cause.code().to_owned(),
            message: found.reason,
            next_step: found.next_step,
            output: found.last_log_lines,
        })
    }

    /// The last operation on a deployment that is not there, or not any more.
    pub(super) async fn past_operation(
        &self,
        caller: &Caller,
        selector: &Selector,
        source: Source,
    ) -> Result<Option<(Operation, Deployment)>, AppError> {
        let newest = PageRequest { after: None, limit: LOOKED_AT };
        let mut past = Vec::new();
        let operations = self.0.store.operations(&OperationFilter::default(), caller.limits(), &newest).await?;
        let operations: Vec<Operation> = operations.items.into_iter().flatten().collect();
        let deployments = self.0.store.deployments_by_id(&operations.iter().map(|it| it.deployment).collect()).await?;
        for operation in operations {
            if let Some(Ok(deployment)) = deployments.get(&operation.deployment) {
                past.push((operation, deployment.clone()));
            }
        }
        let candidates: Vec<Candidate> = past.iter().map(|(_, deployment)| candidate(deployment)).collect();
        let meant = selection::matching(&candidates, selector, source);
        let newest = meant.first().map(|it| it.id);
        let found = past.into_iter().find(|(_, deployment)| Some(deployment.id) == newest);
        Ok(found.map(|(operation, deployment)| (self.told(operation), deployment)))
    }
}
