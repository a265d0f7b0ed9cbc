//! The one place that every way in comes through: what a caller may do is let through, and what not is refused and
//! remembered.

use super::keys::SignInError;
use super::oidc::TokenError;
use super::refusal::permit;
use super::{App, AppError};
use crate::access::{Caller, Missing, Surface};
use crate::audit::{AuditEntry, AuditEvent};
use crate::id::key::Role;
use crate::id::{Action, DeploymentName, Mode, Namespace, OperationId};
use crate::intent::{Decommission, Deploy, Intent, Request};
use crate::store::record::Deployment;
use crate::store::unreadable::UnreadableDeployment;

impl App {
    /// Lets a caller do what it is allowed to, or refuses.
    pub(super) async fn permit(
        &self,
        caller: &Caller,
        allowed: Result<(), Missing>,
        about: impl FnOnce(AuditEntry) -> AuditEntry,
    ) -> Result<(), AppError> {
        permit(&self.0.store, &self.0.refusals, caller, allowed, about).await
    }

    /// Lets a request through as far as it can be judged by itself: by its action, and by the place of a new deployment.
    pub(super) async fn permit_request(&self, caller: &Caller, request: &Request) -> Result<(), AppError> {
        let action = request.intent.action();
        let allowed = caller.may(action, request.dry_run).and_then(|()| match &request.intent {
            Intent::Deploy(deploy) => caller.may_at("deploy", deploy.mode, &self.namespace(deploy)),
            Intent::Decommission(Decommission { delete_cluster: true, .. })
            | Intent::DecommissionAll(Decommission { delete_cluster: true, .. }) => {
                caller.is_at_least(Role::Admin, "delete a cluster (`delete_cluster`)")
            }
            Intent::Decommission(_)
            | Intent::DecommissionAll(_)
            | Intent::Redeploy(_)
            | Intent::Scale(_)
            | Intent::Restart(_)
            | Intent::Rollback(_)
            | Intent::Status(_)
            | Intent::List(_)
            | Intent::Logs(_)
            | Intent::Cancel(_)
            | Intent::Undo(_)
            | Intent::Cost(_) => Ok(()),
        });
        let named = match request.intent.selector() {
            Some(selector) => selector.application_name.as_ref(),
            None => request.intent.deploy().and_then(|it| it.application_name.as_ref()),
        };
        let deployment_name = named.map(DeploymentName::to_string);
        self.permit(caller, allowed, |entry| AuditEntry { action: Some(action), deployment_name, ..entry }).await
    }

    /// Remembers an attempt on what is there and out of sight: for the caller it is not there.
    pub(super) async fn note_out_of_sight(
        &self,
        caller: &Caller,
        action: Action,
        deployment: &Deployment,
        operation: Option<OperationId>,
    ) -> Result<(), AppError> {
        let outcome =
            format!("it is out of sight: that needs the right `{}:{}`", deployment.mode, deployment.namespace);
        if self.0.refusals.is_news(&caller.principal, &format!("{action} {outcome} {}", deployment.id)) {
            let entry = AuditEntry {
                action: Some(action),
                deployment: Some(deployment.id),
                deployment_name: Some(deployment.name.to_string()),
                operation,
                outcome: Some(outcome),
                ..AuditEntry::by(caller, AuditEvent::Refused)
            };
            self.0.store.append_audit(&entry).await?;
        }
        Ok(())
    }

    /// The namespace that a deploy is meant for.
    pub(super) fn namespace(&self, deploy: &Deploy) -> Namespace {
        deploy.namespace.clone().unwrap_or_else(|| self.0.settings.kubernetes.default_namespace.clone())
    }

    /// Whether a deployment is in sight.
    pub(super) fn is_seen(caller: &Caller, found: &Result<Deployment, UnreadableDeployment>) -> bool {
        match found {
            Ok(it) => caller.sees(Some(it.mode), it.namespace.as_str()),
            Err(it) => caller.sees(it.mode, &it.namespace),
        }
    }

    /// All deployments that are not removed and in sight.
    pub(super) async fn visible_deployments(&self, caller: &Caller) -> Result<Vec<Deployment>, AppError> {
        let mut present = self.0.store.present_deployments().await?;
        present.retain(|it| caller.sees(Some(it.mode), it.namespace.as_str()));
        Ok(present)
    }

    /// Whether something may be taken over that is not on record here.
    pub(super) fn may_take_over(caller: &Caller) -> bool {
        caller.may_take_over(Mode::CloudLocal)
    }

    /// Remembers that somebody was not let in. What cannot be checked now is not refused.
    pub fn note_refused_sign_in(&self, address: &str, surface: Surface, error: &SignInError) {
        if matches!(error, SignInError::Token(TokenError::Unchecked(_))) {
            return;
        }
        let reason = error.to_string();
        if !self.0.refusals.is_news(&format!("address:{address}"), &reason) {
            return;
        }
        let entry = AuditEntry {
            address: Some(address.to_owned()),
            surface: Some(surface),
            outcome: Some(reason),
            ..AuditEntry::of(format!("address:{address}"), AuditEvent::SignInRefused)
        };
        let store = self.0.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.append_audit(&entry).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "a refused key is not on record");
            }
        });
    }
}
