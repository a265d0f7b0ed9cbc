//! Why something is not well: what the cluster says now, else what the last operation came to.

use std::time::Duration;

use super::{App, AppError, candidate};
use crate::diagnosis::rollout;
use crate::event::{Failure, OperationState};
use crate::intent::{AwsCredentials, Selector, selection};
use crate::reply::view::Report;
use crate::secret::Redactor;
use crate::store::operations::OperationFilter;
use crate::store::page::PageRequest;
use crate::store::record::Deployment;

/// How many of the last operations are looked at for one on a deployment that is gone.
const LOOKED_AT: u32 = 20;

impl App {
    /// Why a deployment does not serve as it should; `None` when it does, or when nobody can tell.
    pub(super) async fn explain(&self, deployment: &Deployment, aws: Option<&AwsCredentials>) -> Option<Failure> {
        if let Some(failure) = self.diagnose(deployment, aws).await {
            return Some(failure);
        }
        let operation = self.0.store.operation(deployment.operation).await.ok()??;
        match operation.state {
            OperationState::Failed | OperationState::Undone | OperationState::Stuck => operation.failure,
            OperationState::Queued
            | OperationState::Running
            | OperationState::Waiting
            | OperationState::Succeeded
            | OperationState::Cancelled => None,
        }
    }

    async fn diagnose(&self, deployment: &Deployment, aws: Option<&AwsCredentials>) -> Option<Failure> {
        let kube = self.kube(deployment, aws).await.ok()?;
        let live = kube.live_deployment(&deployment.name, &deployment.namespace).await.ok()??;
        if live.ready >= live.replicas {
            return None;
        }
        let waited = deployment.updated_at.duration_until(jiff::Timestamp::now()).unsigned_abs();
        let waited = waited.min(self.0.settings.rollout.timeout).max(Duration::from_secs(1));
        let found = rollout::diagnose(&kube, &deployment.name, &deployment.namespace, waited, |_| async { None });
        let found = Box::pin(found).await.ok()?;
        let redactor = Redactor::from_settings(&self.0.settings);
        let clean = |text: &str| redactor.redact(text).into_owned();
        Some(Failure {
            code: found.cause.code().to_owned(),
            message: clean(&found.reason),
            next_step: clean(&found.next_step),
            output: found.last_log_lines.iter().map(|it| clean(it)).collect(),
        })
    }

    /// What the last operation on a deployment came to that is not there, or not any more.
    pub(super) async fn last_operation(&self, selector: &Selector) -> Result<Option<Report>, AppError> {
        let newest = PageRequest { after: None, limit: LOOKED_AT };
        for operation in self.0.store.operations(&OperationFilter::default(), &newest).await?.items {
            let Some(deployment) = self.0.store.deployment(operation.deployment).await? else { continue };
            if operation.state.is_ended() && !selection::matching(&[candidate(&deployment)], selector).is_empty() {
                return Ok(Some(Report::LastOperation {
                    operation: Box::new(operation),
                    deployment: Box::new(deployment),
                }));
            }
        }
        Ok(None)
    }
}
