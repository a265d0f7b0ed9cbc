//! Stops an operation, and goes on with one that waits or is stuck: with what secrets, and whether they fit.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

use super::task::run_to_completion;
use super::{App, AppError};
use crate::access::Caller;
use crate::audit::{AuditEntry, AuditEvent};
use crate::cloud::aws::{AccessKeys, Aws, AwsErrorKind};
use crate::engine::finished::erased_secrets;
use crate::event::{OperationState, minute};
use crate::id::{Action, Mode, OperationId, Region};
use crate::intent::Secrets;
use crate::reply::view::Resumed;
use crate::step::aws_access::AWS_CREDENTIALS_SECRET;
use crate::step::context::secret_context;
use crate::store::record::{Operation, Target};

/// How long AWS may take to say whose credentials these are.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(20);
/// The field that other credentials come in.
const CREDENTIALS: Option<&str> = Some("aws_credentials");

/// What can be asked of an operation as it stands, by whoever may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Possible {
    /// What a cancel does.
    pub cancel: Option<Cancelled>,
    /// What a resume does.
    pub resume: Option<Resumed>,
}

/// What a cancel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// What the operation did is taken back.
    TakenBack,
    /// The operation stays stuck, and its secrets are erased.
    SecretsErased,
}

/// What can be asked of an operation, when `latest` is the one that last changed its deployment: what a stuck one has left
/// goes over to the operation that comes after it.
#[must_use]
pub fn possible(operation: &Operation, latest: Option<OperationId>) -> Possible {
    // What a decommission has removed cannot be taken back.
    let taken_back = (operation.action != Action::Decommission).then_some(Cancelled::TakenBack);
    let (cancel, resume) = match operation.state {
        OperationState::Queued | OperationState::Running => (taken_back, None),
        OperationState::Waiting => (taken_back, Some(Resumed::Check)),
        OperationState::Stuck => (
            operation.keeps_secrets.then_some(Cancelled::SecretsErased),
            latest.is_none_or(|it| it == operation.id).then_some(Resumed::Undo),
        ),
        OperationState::Succeeded | OperationState::Undone | OperationState::Failed | OperationState::Cancelled => {
            (None, None)
        }
    };
    Possible { cancel, resume }
}

impl App {
    /// Asks an operation to stop and to take back what it did. One that is stuck stays so, and its secrets are erased.
    ///
    /// # Errors
    /// [`AppError::Conflict`] when it has ended or cannot be taken back.
    pub async fn cancel(&self, caller: &Caller, id: OperationId) -> Result<Operation, AppError> {
        let operation = self.existing_operation(caller, id).await?;
        self.permit_on(caller, "cancel", &operation).await?;
        if operation.state == OperationState::Stuck {
            return self.erase_secrets(caller, operation).await;
        }
        if possible(&operation, None).cancel.is_none() && !operation.state.is_ended() {
            return Err(AppError::Conflict {
                message: "what a decommission has removed cannot be taken back; wait until it has ended".to_owned(),
                param: None,
            });
        }
        let engine = self.0.engine.clone();
        let entry = self.entry_on(caller, AuditEvent::CancelRequested, &operation).await;
        if !run_to_completion(async move { Ok(engine.cancel(id, &entry).await?) }).await? {
            return Err(AppError::Conflict {
                message: format!("operation `{id}` has ended ({})", operation.state.as_str()),
                param: None,
            });
        }
        self.existing_operation(caller, id).await
    }

    /// What the record tells of something that was asked of an operation.
    async fn entry_on(&self, caller: &Caller, event: AuditEvent, operation: &Operation) -> AuditEntry {
        let deployment = self.0.store.deployment(operation.deployment).await.ok().flatten();
        let action = if event == AuditEvent::CancelRequested { Action::Cancel } else { operation.action };
        AuditEntry {
            action: Some(action),
            deployment: Some(operation.deployment),
            deployment_name: deployment.map(|it| it.name.to_string()),
            operation: Some(operation.id),
            ..AuditEntry::by(caller, event)
        }
    }

    /// Lets a caller do something with an operation that is in sight.
    async fn permit_on(&self, caller: &Caller, what: &str, operation: &Operation) -> Result<(), AppError> {
        let allowed = caller.may_interrupt(&format!("{what} an operation"), &operation.principal);
        self.permit(caller, allowed, |entry| AuditEntry {
            action: Some(operation.action),
            deployment: Some(operation.deployment),
            operation: Some(operation.id),
            ..entry
        })
        .await
    }

    /// Erases the secrets of a stuck operation. Once more it changes nothing: the answer is the same.
    async fn erase_secrets(&self, caller: &Caller, operation: Operation) -> Result<Operation, AppError> {
        let (id, store) = (operation.id, self.0.store.clone());
        // One whose plan cannot be read names nothing, and has its secrets erased all the same.
        let left = self.leftovers(&operation).await.unwrap_or_default();
        let warning = erased_secrets("on request", &left);
        let entry = self.entry_on(caller, AuditEvent::CancelRequested, &operation).await;
        if run_to_completion(async move { Ok(store.erase_secrets(id, &warning, Some(&entry)).await?) }).await? {
            tracing::info!(op.id = %id, "the secrets of a stuck operation are erased on request");
        }
        Ok(self.told(self.existing_operation(caller, id).await?))
    }

    /// Whether an operation is stuck, and its secrets can be erased.
    pub(super) async fn is_stuck_with_secrets(&self, id: OperationId) -> Result<bool, AppError> {
        let operation = self.0.store.operation(id).await?;
        Ok(operation.is_some_and(|it| possible(&it, None).cancel == Some(Cancelled::SecretsErased)))
    }

    /// An operation as it is told: one that is stuck says until when its secrets are kept, and what `resume` takes.
    pub(super) fn told(&self, mut operation: Operation) -> Operation {
        self.tell(&mut operation);
        operation
    }

    /// The same in place.
    pub(super) fn tell(&self, operation: &mut Operation) {
        if let (Some(until), Some(failure)) = (self.secrets_kept_until(operation), &mut operation.failure) {
            let sentence = format!(
                "The secrets of its request stay sealed until {} (`STUCK_SECRETS_DAYS`), for `resume`, which also takes \
                 `aws_credentials` and `git_token` in their place",
                minute(until)
            );
            let before = failure.next_step.trim_end_matches('.');
            failure.next_step = if before.is_empty() { sentence } else { format!("{before}. {sentence}") };
        }
    }

    /// Until when a stuck operation keeps its secrets.
    pub(super) fn secrets_kept_until(&self, operation: &Operation) -> Option<Timestamp> {
        operation.secrets_kept_until(self.0.settings.secret.stuck_retention)
    }

    /// Looks again at once for what a waiting operation waits for; tries the undo of a stuck one again. Secrets that come
    /// with it take the place of those that the operation has.
    ///
    /// # Errors
    /// [`AppError::Conflict`] when it is neither waiting nor stuck, when something else has changed the deployment since,
    /// or when its credentials are missing or not of the account that it has worked in.
    pub async fn resume(
        &self,
        caller: &Caller,
        id: OperationId,
        secrets: Secrets,
    ) -> Result<(Operation, Resumed), AppError> {
        let operation = self.existing_operation(caller, id).await?;
        self.permit_on(caller, "resume", &operation).await?;
        self.check_resumable(&operation).await?;
        // Before its turn: AWS may take seconds, and all other requests wait for that lock. What is sealed while it is
        // asked was asked about too.
        if operation.state == OperationState::Stuck || secrets.aws.is_some() {
            Box::pin(self.check_credentials(&operation, &secrets)).await?;
        }
        let (app, caller) = (self.clone(), caller.clone());
        run_to_completion(async move { app.resume_in_turn(&caller, id, &secrets).await }).await
    }

    async fn resume_in_turn(
        &self,
        caller: &Caller,
        id: OperationId,
        secrets: &Secrets,
    ) -> Result<(Operation, Resumed), AppError> {
        let _turn = self.0.accept_lock.lock().await;
        let operation = self.existing_operation(caller, id).await?;
        let resumed = self.check_resumable(&operation).await?;
        let sealed = self.seal(id, secrets)?;
        if !sealed.is_empty() {
            self.0.store.replace_secrets(id, &sealed).await?;
        }
        let entry = self.entry_on(caller, AuditEvent::Resumed, &operation).await;
        self.0.store.append_audit(&entry).await?;
        match resumed {
            Resumed::Check => {
                self.0.engine.hide(id, &texts(secrets));
                self.0.engine.wake(id);
            }
            Resumed::Undo => self.0.engine.retry_undo(operation).await?,
        }
        Ok((self.existing_operation(caller, id).await?, resumed))
    }

    /// What is done again when an operation is resumed.
    async fn check_resumable(&self, operation: &Operation) -> Result<Resumed, AppError> {
        let (id, state) = (operation.id, operation.state);
        let conflict = |message: String| AppError::Conflict { message, param: None };
        let latest = if state == OperationState::Stuck {
            self.0.engine.check_history(id).await?;
            self.0.store.deployment(operation.deployment).await?.map(|it| it.operation)
        } else {
            None
        };
        if let Some(resumed) = possible(operation, latest).resume {
            return Ok(resumed);
        }
        let Some(later) = latest else {
            let next = if operation.ended_at.is_some() {
                "it has ended; to have it done again, send its request again".to_owned()
            } else {
                format!("it goes on by itself; follow it with `GET /v1/operations/{id}/events`")
            };
            let state = state.as_str();
            return Err(conflict(format!("operation `{id}` is neither stuck nor waiting but {state}: {next}")));
        };
        Err(conflict(format!(
            "the operation `{later}` has changed the deployment since, and what `{id}` left went over to it: there is \
             nothing to resume any more"
        )))
    }

    /// Makes sure that what an operation goes on with are credentials of the account that it has worked in: in another one
    /// it would find nothing, and forget what is there.
    async fn check_credentials(&self, operation: &Operation, secrets: &Secrets) -> Result<(), AppError> {
        let Some(target) = self.0.store.target(operation.target).await? else { return Ok(()) };
        if target.mode == Mode::Local {
            return Ok(());
        }
        let id = operation.id;
        let conflict = |message: String| AppError::Conflict { message, param: CREDENTIALS };
        let recorded = self.0.engine.account_on_record(operation).await?;
        let of_account = recorded.as_ref().map(|it| format!(" of the account {}", it.number)).unwrap_or_default();
        let (keys, whose) = match (&secrets.aws, self.sealed_keys(id, &of_account).await?) {
            (Some(given), _) => (Some(Some(AccessKeys::from(given))), "those that were sent"),
            (None, Some(sealed)) => (Some(Some(sealed)), "those of its request"),
            (None, None) => (self.access_keys(None), "those of this server"),
        };
        let Some(keys) = keys else {
            return Err(conflict(format!(
                "operation `{id}` has no credentials any more, and this server has none of its own: send \
                 `aws_credentials`{of_account}"
            )));
        };
        let Some(region) = region(&target, secrets)? else { return Ok(()) };
        let Some(recorded) = recorded else { return Ok(()) };
        let ask = async { Aws::connect(&region, keys).await?.caller_identity().await };
        let identity = match tokio::time::timeout(IDENTITY_TIMEOUT, ask).await {
            Ok(Ok(identity)) => identity,
            Ok(Err(error)) if error.kind == AwsErrorKind::Credentials => {
                return Err(conflict(format!(
                    "AWS refuses the credentials, {whose} ({error}): send `aws_credentials`{of_account}. Nothing was changed"
                )));
            }
            Ok(Err(error)) => return Err(conflict(format!("AWS does not say whose the credentials are: {error}"))),
            Err(_) => {
                let message = "AWS does not say whose the credentials are, it does not answer; try again in a moment";
                return Err(AppError::Conflict { message: message.to_owned(), param: None });
            }
        };
        if identity.account == recorded.number {
            return Ok(());
        }
        Err(conflict(format!(
            "{} belongs to the account {}, and the credentials, {whose}, to {}: send `aws_credentials`{of_account}. \
             Nothing was changed, and operation `{id}` is as it was",
            recorded.holds, recorded.number, identity.account
        )))
    }

    /// The credentials that an operation has sealed.
    async fn sealed_keys(&self, id: OperationId, of_account: &str) -> Result<Option<AccessKeys>, AppError> {
        let Some(sealed) = self.0.store.sealed_secret(id, AWS_CREDENTIALS_SECRET).await? else { return Ok(None) };
        match self.0.sealer.unseal(&secret_context(id, AWS_CREDENTIALS_SECRET), &sealed) {
            Ok(json) => Ok(AccessKeys::from_json(&json)),
            Err(error) => {
                let message = format!("its credentials cannot be opened ({error}): send `aws_credentials`{of_account}");
                Err(AppError::Conflict { message, param: CREDENTIALS })
            }
        }
    }
}

/// What came with a resume and must not be shown.
fn texts(secrets: &Secrets) -> Vec<&SecretString> {
    let of_aws = secrets.aws.iter().flat_map(|it| {
        [Some(&it.access_key_id), Some(&it.secret_access_key), it.session_token.as_ref()].into_iter().flatten()
    });
    of_aws.chain(&secrets.git_token).collect()
}

/// Where a target is; credentials for another region are refused.
fn region(target: &Target, secrets: &Secrets) -> Result<Option<Region>, AppError> {
    let asked = secrets.aws.as_ref().and_then(|it| it.region.clone());
    let of_instance = || target.instance.as_ref().map(|it| &it.region);
    let known = target.region.as_ref().or_else(of_instance).or_else(|| target.cluster.as_ref().map(|it| &it.region));
    match (known, asked) {
        (Some(region), Some(asked)) if *region != asked => Err(AppError::Conflict {
            message: format!("`{}` is in {region}, not in {asked}", target.name),
            param: Some("aws_credentials.aws_region"),
        }),
        (Some(region), _) => Ok(Some(region.clone())),
        (None, asked) => Ok(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::operation::tests::an_operation;

    #[test]
    fn what_is_stuck_is_gone_on_with_until_something_came_after_it() {
        let stuck = Operation { keeps_secrets: true, ..an_operation(Action::Deploy, OperationState::Stuck) };

        let now = possible(&stuck, Some(stuck.id));
        let later = possible(&Operation { keeps_secrets: false, ..stuck.clone() }, Some(OperationId::new()));

        assert_eq!(now, Possible { cancel: Some(Cancelled::SecretsErased), resume: Some(Resumed::Undo) });
        assert_eq!(later, Possible { cancel: None, resume: None });
    }

    #[test]
    fn a_removal_is_not_taken_back_and_what_has_ended_is_over() {
        let removal = an_operation(Action::Decommission, OperationState::Waiting);
        let ended = an_operation(Action::Deploy, OperationState::Succeeded);

        assert_eq!(possible(&removal, None), Possible { cancel: None, resume: Some(Resumed::Check) });
        assert_eq!(possible(&ended, None), Possible { cancel: None, resume: None });
    }
}
