//! From a plan to an operation that is stored and begun, and what stands between the two: the word of the person.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::{App, AppError};
use crate::access::Caller;
use crate::audit::{AuditEntry, AuditEvent, ConfirmedBy};
use crate::cloud::aws::AccessKeys;
use crate::event::OperationState;
use crate::id::{OperationId, PlanHash};
use crate::intent::{Confirmation, Intent, Request, Secrets, Source};
use crate::plan::Plan;
use crate::step::aws_access::AWS_CREDENTIALS_SECRET;
use crate::step::build_secrets::BUILD_SECRET;
use crate::step::clone_repository::GIT_TOKEN_SECRET;
use crate::step::context::secret_context;
use crate::step::environment::ENVIRONMENT_SECRET;
use crate::store::operations::{Acceptance, NewOperation, RequestKey};
use crate::store::record::{Deployment, DeploymentState, Operation, Target};

/// A change that is about to begin.
pub(super) struct Change {
    pub(super) intent: Intent,
    pub(super) plan: Plan,
    pub(super) deployment: Deployment,
    pub(super) target: Target,
}

/// The person has to confirm first.
pub(super) struct ConfirmationNeeded {
    /// Another plan than this one was confirmed.
    pub(super) plan_changed: bool,
}

impl App {
    /// Stores the operation of a change, and begins it.
    pub(super) async fn begin(
        &self,
        accepted: AuditEntry,
        key: Option<RequestKey>,
        Change { intent, plan, mut deployment, target }: Change,
        secrets: &Secrets,
    ) -> Result<OperationId, AppError> {
        let id = OperationId::new();
        if let Intent::Decommission(_) = intent {
            deployment.state = DeploymentState::Removing;
        }
        deployment.operation = id;
        let operation = Operation {
            id,
            action: intent.action(),
            principal: accepted.principal.clone(),
            intent: serde_json::to_value(&intent).map_err(|error| AppError::Internal(error.into()))?,
            plan: serde_json::to_value(&plan).map_err(|error| AppError::Internal(error.into()))?,
            state: OperationState::Queued,
            progress: 0,
            deployment: deployment.id,
            target: target.id,
            failure: None,
            receipt: Vec::new(),
            warnings: Vec::new(),
            created_at: accepted.at,
            ended_at: None,
            written_by: None,
            keeps_secrets: false,
            is_cancel_requested: false,
        };
        let name = deployment.name.to_string();
        let secrets = self.seal(id, secrets)?;
        let accepted = AuditEntry {
            action: Some(operation.action),
            deployment: Some(deployment.id),
            deployment_name: Some(name.clone()),
            operation: Some(id),
            ..accepted
        };
        let new = NewOperation { operation, deployment, target, key, secrets, accepted };
        match self.0.store.accept(&new).await? {
            Acceptance::Busy(operation) => return Err(AppError::Busy { deployment: name, operation }),
            Acceptance::Accepted => (),
        }
        tracing::info!(op.id = %id, op.action = %new.operation.action, deployment.name = name, "operation is accepted");
        self.0.engine.begin(new.operation, new.deployment, new.target).await?;
        Ok(id)
    }

    pub(super) fn seal(&self, id: OperationId, secrets: &Secrets) -> Result<Vec<(String, String)>, AppError> {
        let mut sealed = Vec::new();
        if let Some(token) = &secrets.git_token {
            sealed
                .push((GIT_TOKEN_SECRET.to_owned(), self.0.sealer.seal(&secret_context(id, GIT_TOKEN_SECRET), token)?));
        }
        if let Some(environment) = &secrets.environment {
            let values: BTreeMap<_, _> =
                environment.iter().map(|(name, value)| (name, value.expose_secret())).collect();
            let json = serde_json::to_string(&values).map_err(|error| AppError::Internal(error.into()))?;
            let context = secret_context(id, ENVIRONMENT_SECRET);
            sealed.push((ENVIRONMENT_SECRET.to_owned(), self.0.sealer.seal(&context, &SecretString::from(json))?));
        }
        if let Some(build) = &secrets.build {
            let values: BTreeMap<_, _> = build.iter().map(|(name, value)| (name, value.expose_secret())).collect();
            let json = serde_json::to_string(&values).map_err(|error| AppError::Internal(error.into()))?;
            let context = secret_context(id, BUILD_SECRET);
            sealed.push((BUILD_SECRET.to_owned(), self.0.sealer.seal(&context, &SecretString::from(json))?));
        }
        if let Some(aws) = &secrets.aws {
            let keys = AccessKeys::from(aws).to_json();
            sealed.push((
                AWS_CREDENTIALS_SECRET.to_owned(),
                self.0.sealer.seal(&secret_context(id, AWS_CREDENTIALS_SECRET), &keys)?,
            ));
        }
        Ok(sealed)
    }
}

/// What stands between a request and its plan: nothing, or the word of the person who asked for it. `is_wanted` says
/// whether words alone do not suffice for it.
///
/// A caller that asks is not taken at its word: whatever it sends by fields, a program may have sent. Only the yes of a
/// conversation counts.
pub(super) fn confirmation_needed(
    caller: &Caller,
    request: &Request,
    is_wanted: bool,
    hash: &PlanHash,
) -> Result<Option<ConfirmationNeeded>, AppError> {
    let by_fields = request.source == Source::Fields;
    match &request.confirmation {
        Confirmation::Given | Confirmation::Missing | Confirmation::OfPlan(_) if is_wanted && caller.asks => {
            Ok(Some(ConfirmationNeeded { plan_changed: false }))
        }
        Confirmation::Required => Ok(Some(ConfirmationNeeded { plan_changed: false })),
        Confirmation::Missing if is_wanted && !by_fields => Ok(Some(ConfirmationNeeded { plan_changed: false })),
        Confirmation::OfPlan(shown) | Confirmation::Agreed(shown) if shown != hash => {
            if by_fields {
                return Err(AppError::Conflict {
                    message: format!("the plan is not `{shown}` any more; ask for it again with `dry_run`"),
                    param: Some("confirm"),
                });
            }
            Ok(Some(ConfirmationNeeded { plan_changed: true }))
        }
        Confirmation::Given | Confirmation::Missing | Confirmation::OfPlan(_) | Confirmation::Agreed(_) => Ok(None),
    }
}

/// What the record tells of a request that is accepted.
pub(super) fn accepted(caller: &Caller, request: &Request, hash: &PlanHash) -> AuditEntry {
    let confirmed = match &request.confirmation {
        Confirmation::Missing | Confirmation::Required => ConfirmedBy::Nothing,
        Confirmation::Given => ConfirmedBy::Field,
        Confirmation::OfPlan(_) => ConfirmedBy::PlanHash,
        Confirmation::Agreed(_) => ConfirmedBy::Conversation,
    };
    AuditEntry {
        plan: Some(hash.to_string()),
        confirmed: Some(confirmed),
        ..AuditEntry::by(caller, AuditEvent::Accepted)
    }
}
