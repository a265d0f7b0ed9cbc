//! What a step may use while it works: the operation that it belongs to, its host, its secrets, and what earlier steps
//! left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::cloud_target::{CloudTarget, Provisioned, no_instance_on_record};
use super::error::StepError;
use crate::cloud::price::Prices;
use crate::config::Settings;
use crate::event::Lines;
use crate::host::{Host, Hosts};
use crate::id::{DeploymentId, ImageRef, Mode, OperationId};
use crate::secret::private_key::{PrivateKeyError, private_key};
use crate::secret::{Redactor, Sealer};
use crate::store::Store;
use crate::store::calls::CallLog;
use crate::store::record::{Deployment, EksCluster, Instance, Target};
use crate::tool::connection::Connection;
use crate::tool::ssh::{SshAddress, pinned_host_keys};
use crate::tool::step_calls::StepCalls;

/// How long a program that an earlier server left behind may go on when that server kept no time-out of it.
const ORPHAN_TIMEOUT: Duration = Duration::from_mins(10);
/// Name of the file in a target's folder in which the host keys of its instance are pinned.
pub(super) const KNOWN_HOSTS: &str = "known_hosts";
/// How often a lock that another operation holds is tried again.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What a step may use while it works.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// The operation that the step belongs to.
    pub operation: OperationId,
    /// The deployment, as it was when the operation was accepted.
    pub deployment: Deployment,
    /// The target, as it was when the operation was accepted.
    pub target: Target,
    /// The machines that tools run on.
    pub hosts: Hosts,
    /// What things on AWS cost.
    pub prices: Prices,
    /// The store; steps use it for locks only.
    pub store: Store,
    /// The settings.
    pub settings: Arc<Settings>,
    /// Opens the operation's secrets.
    pub sealer: Sealer,
    /// Hides the operation's secrets in text.
    pub redactor: Redactor,
    /// Where the step says what is going on.
    pub lines: Lines,
    /// Cancelled when the step should stop.
    pub cancel: CancellationToken,
    /// What earlier steps left behind, by step name.
    pub outputs: Arc<BTreeMap<String, Value>>,
    /// Name of the step.
    pub step: &'static str,
    /// Whether programs of an earlier attempt may still work on the host.
    pub may_have_orphans: Arc<AtomicBool>,
    /// When the step was first begun, by whatever server.
    pub begun_at: Timestamp,
    /// When it has waited too long on something outside, once it has begun to wait.
    pub waits_until: Option<Timestamp>,
}

impl StepContext {
    /// What the step of this name left behind; `None` when the plan has no such step before this one.
    ///
    /// # Errors
    /// A permanent failure when what is stored cannot be read.
    pub(super) fn stored<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StepError> {
        let Some(value) = self.outputs.get(name) else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|error| StepError::unreadable(name, &error))
    }

    /// The instance or cluster that the application runs on: as an earlier step of this plan made or found it, else as
    /// the record of the target has it. `None` for a target of another kind.
    ///
    /// # Errors
    /// A permanent failure when what is stored cannot be read.
    pub(super) fn cloud_target<T: CloudTarget>(&self) -> Result<Option<T>, StepError> {
        if let Some(provisioned) = self.stored::<Provisioned<T>>(T::PROVISIONED_BY)? {
            return Ok(Some(provisioned.found.into()));
        }
        if let Some(found) = self.stored::<T::Found>(T::FOUND_BY)? {
            return Ok(Some(found.into()));
        }
        Ok(T::of(&self.target).cloned())
    }

    /// Whether the target is gone, or goes when the operation that made it is taken back: what is on it goes with it.
    pub(super) async fn will_destroy_target(&self) -> Result<bool, StepError> {
        Ok(self.outputs.contains_key(Instance::DESTROYED_BY) || self.goes_when_undone::<Instance>().await?)
    }

    /// Whether the EKS cluster goes when the operation that made it is taken back. Images for an EKS cluster are built
    /// in this machine's Docker, so (unlike on an instance) they do not vanish with the cluster.
    pub(super) async fn will_destroy_cluster(&self) -> Result<bool, StepError> {
        self.goes_when_undone::<EksCluster>().await
    }

    async fn goes_when_undone<T: CloudTarget>(&self) -> Result<bool, StepError> {
        let provisioned = self.stored::<Provisioned<T>>(T::PROVISIONED_BY)?;
        Ok(provisioned.is_some_and(|it| it.made && !it.kept) && !self.is_target_shared().await?)
    }

    /// Whether other deployments are on the target, or about to be.
    pub(super) async fn is_target_shared(&self) -> Result<bool, StepError> {
        Ok(self.store.is_target_used_by_others(self.target.id, self.deployment.id).await?)
    }

    /// A secret of the operation, opened for as long as the caller keeps it.
    ///
    /// # Errors
    /// When the store does not answer, or the key is another one than it was sealed with.
    pub async fn secret(&self, name: &str) -> Result<Option<SecretString>, StepError> {
        let Some(sealed) = self.store.sealed_secret(self.operation, name).await? else { return Ok(None) };
        Ok(Some(self.sealer.unseal(&secret_context(self.operation, name), &sealed)?))
    }

    /// Where the tools of this operation run: this machine, or the target's. Connects when that is needed, and waits
    /// for programs of this step that an earlier attempt or server left behind there.
    ///
    /// # Errors
    /// When the machine cannot be reached.
    pub async fn host(&self) -> Result<Host, StepError> {
        let Some(mut address) = self.ssh_address()? else { return Ok(self.hosts.local().clone()) };
        if address.host_keys.is_empty() {
            address.host_keys = self.recorded_instance(&address).await?.map(|it| it.host_keys).unwrap_or_default();
        }
        let host = self.hosts.connect(self.target.id, &address).await?;
        if self.may_have_orphans.swap(false, Ordering::Relaxed) {
            host.connection.await_orphans(&self.calls_on(&host), ORPHAN_TIMEOUT, &self.lines, &self.cancel).await?;
        }
        Ok(host)
    }

    /// How the target's machine is reached; `None` for this machine.
    ///
    /// # Errors
    /// A permanent failure when there is no instance yet, or its key cannot be used.
    pub fn ssh_address(&self) -> Result<Option<SshAddress>, StepError> {
        if self.target.mode != Mode::CloudLocal {
            return Ok(None);
        }
        let instance = self.cloud_target::<Instance>()?.ok_or_else(|| no_instance_on_record(&self.target.name))?;
        let folder = self.target_folder();
        Ok(Some(ssh_address(&instance, self.settings.ssh.private_key_base_path.as_deref(), &folder)?))
    }

    /// Keeps the host keys that the first contact has shown, so that a server that has another workspace knows the machine too.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn record_host_keys(&self, address: &SshAddress) -> Result<(), StepError> {
        let Some(instance) = self.recorded_instance(address).await?.filter(|it| it.host_keys.is_empty()) else {
            return Ok(());
        };
        let host_keys = pinned_host_keys(&address.known_hosts, &address.alias).await;
        if !host_keys.is_empty() {
            self.store.set_target_instance(self.target.id, Some(&Instance { host_keys, ..instance })).await?;
        }
        Ok(())
    }

    /// The instance of an address, as the record of the target has it now.
    async fn recorded_instance(&self, address: &SshAddress) -> Result<Option<Instance>, StepError> {
        let instance = self.store.target(self.target.id).await?.and_then(|it| it.instance);
        Ok(instance.filter(|it| it.id == address.alias))
    }

    /// Waits for programs of this step that an earlier attempt or server left behind: here now, on another machine as
    /// soon as it is used.
    ///
    /// # Errors
    /// When the workspace cannot be read.
    pub async fn await_orphans(&self) -> Result<(), StepError> {
        self.may_have_orphans.store(true, Ordering::Relaxed);
        Connection::Local.await_orphans(&self.calls(), ORPHAN_TIMEOUT, &self.lines, &self.cancel).await?;
        Ok(())
    }

    /// Whether the image may be removed: no version that may run again needs it (those of `but_for` do not count), and
    /// no other operation can be about to load it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_image_unused(&self, image: &ImageRef, but_for: Option<DeploymentId>) -> Result<bool, StepError> {
        // The tag of an image that we build is COMMIT-KEY.
        let (commit, deployment) = (image.tag().split('-').next().unwrap_or_default(), &self.deployment);
        Ok(!self.store.is_image_used(image, but_for).await?
            && !self.store.is_image_awaited(image, commit, &deployment.repository, deployment.id).await?)
    }

    /// Takes the target's lock, and waits while another operation holds it.
    ///
    /// # Errors
    /// When the step is cancelled meanwhile or the store does not answer.
    pub async fn lock_target(&self) -> Result<(), StepError> {
        while !self.store.lock_target(self.target.id, self.operation).await? {
            self.lines.progress("another operation works on the cluster; waiting for it");
            tokio::select! {
                () = tokio::time::sleep(LOCK_POLL_INTERVAL) => (),
                () = self.cancel.cancelled() => return Err(StepError::Cancelled),
            }
        }
        Ok(())
    }

    /// Frees the target's lock when this operation holds it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn unlock_target(&self) -> Result<(), StepError> {
        Ok(self.store.unlock_target(self.target.id, self.operation).await?)
    }

    /// Works under the target's lock. After a failure it stays locked: the step is tried again, or taken back.
    ///
    /// # Errors
    /// What the work says; when the step is cancelled meanwhile or the store does not answer.
    pub(super) fn with_target_locked<T: Send>(
        &self,
        work: impl Future<Output = Result<T, StepError>> + Send,
    ) -> impl Future<Output = Result<T, StepError>> + Send {
        // Boxed here, for all callers: a future that follows a program and talks to AWS is large.
        let work = Box::pin(work);
        async move {
            self.lock_target().await?;
            let done = work.await?;
            self.unlock_target().await?;
            Ok(done)
        }
    }

    /// The folder of the deployment in the workspace.
    #[must_use]
    pub fn deployment_folder(&self) -> PathBuf {
        self.settings.store.workspace.join("deployments").join(self.deployment.id.to_string())
    }

    /// The folder of the target in the workspace.
    #[must_use]
    pub fn target_folder(&self) -> PathBuf {
        self.settings.store.workspace.join("targets").join(self.target.id.to_string())
    }

    /// Where this step's programs on a host are on record, so that the next start finds those that still run.
    #[must_use]
    pub fn calls_on(&self, host: &Host) -> StepCalls {
        self.calls_in(&host.operation_folder(self.operation))
    }

    /// The same on this machine.
    #[must_use]
    pub fn calls(&self) -> StepCalls {
        let operations = self.settings.store.workspace.join("operations");
        self.calls_in(&operations.join(self.operation.to_string()))
    }

    fn calls_in(&self, folder_of_operation: &Path) -> StepCalls {
        let log = CallLog::new(self.store.clone(), self.operation, self.step);
        StepCalls::new(folder_of_operation.join(self.step), log)
    }
}

/// How an EC2 instance is reached; `folder` is that of its target.
///
/// # Errors
/// When its private key cannot be used.
pub fn ssh_address(instance: &Instance, keys: Option<&Path>, folder: &Path) -> Result<SshAddress, PrivateKeyError> {
    Ok(SshAddress {
        address: instance.public_ip,
        port: 22,
        user: instance.user.clone(),
        private_key: private_key(keys, &instance.key_pair)?,
        known_hosts: folder.join(KNOWN_HOSTS),
        alias: instance.id.clone(),
        host_keys: instance.host_keys.clone(),
    })
}

/// What a sealed secret is bound to.
#[must_use]
pub fn secret_context(operation: OperationId, name: &str) -> String {
    format!("{operation}/{name}")
}
