//! Steps: the units of work that a plan is made of. A step is data; `StepAction` is the one face that the engine sees.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::cloud::kube::Kube;
use crate::config::Settings;
use crate::event::{EventKind, Failure, Lines, OperationState};
use crate::host::{Host, Hosts};
use crate::id::{ClusterName, DeploymentId, ImageRef, Mode, OperationId};
use crate::secret::private_key::{PrivateKeyError, private_key};
use crate::secret::{Redactor, Sealer, SecretError};
use crate::store::record::{Deployment, Instance, Target};
use crate::store::{Store, StoreError};
use crate::tool::connection::Connection;
use crate::tool::ssh::SshAddress;

mod failure;
mod machine;
mod nodes;
mod problems;

pub mod account;
pub mod analyse_repository;
pub mod apply_application;
pub mod await_certificate;
pub mod bootstrap_host;
pub mod build_image;
pub mod check_account;
pub mod check_hosted_account;
pub mod clone_repository;
pub mod create_alias;
pub mod create_cluster;
pub mod delete_cluster;
pub mod destroy_cluster;
pub mod destroy_instance;
pub mod destroy_repository;
pub mod find_cluster;
pub mod find_instance;
pub mod install_ingress;
pub mod load_image;
pub mod preload_base_image;
pub mod provision_cluster;
pub mod provision_instance;
pub mod provision_repository;
pub mod prune_versions;
pub mod push_image;
pub mod release_ingress;
pub mod remove_alias;
pub mod remove_application;
pub mod remove_certificate;
pub mod remove_images;
pub mod remove_workspace;
pub mod request_certificate;
pub mod scale_application;
pub mod uninstall_ingress;
pub mod verify_account;
pub mod verify_application;
pub mod verify_removal;
pub mod wait_for_rollout;

use analyse_repository::AnalyseRepository;
use apply_application::ApplyApplication;
use await_certificate::AwaitCertificate;
use bootstrap_host::BootstrapHost;
use build_image::BuildImage;
use check_account::CheckAccount;
use check_hosted_account::CheckHostedAccount;
use clone_repository::CloneRepository;
use create_alias::CreateAlias;
use create_cluster::CreateCluster;
use delete_cluster::DeleteCluster;
use destroy_cluster::DestroyCluster;
use destroy_instance::DestroyInstance;
use destroy_repository::DestroyRepository;
use find_cluster::FindCluster;
use find_instance::FindInstance;
use install_ingress::InstallIngress;
use load_image::LoadImage;
use preload_base_image::PreloadBaseImage;
use provision_cluster::ProvisionCluster;
use provision_instance::{ProvisionInstance, unrecorded};
use provision_repository::ProvisionRepository;
use prune_versions::PruneVersions;
use push_image::PushImage;
use release_ingress::ReleaseIngress;
use remove_alias::RemoveAlias;
use remove_application::RemoveApplication;
use remove_certificate::RemoveCertificate;
use remove_images::RemoveImages;
use remove_workspace::RemoveWorkspace;
use request_certificate::RequestCertificate;
use scale_application::ScaleApplication;
use uninstall_ingress::UninstallIngress;
use verify_account::VerifyAccount;
use verify_application::VerifyApplication;
use verify_removal::VerifyRemoval;
use wait_for_rollout::WaitForRollout;

/// How long a program that an earlier server left behind may go on before it is interrupted.
const LEFT_BEHIND_LIMIT: Duration = Duration::from_mins(10);
/// How often a lock that another operation holds is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(200);

/// One unit of work: the struct is its parameters, serde makes it durable.
pub trait StepAction: Serialize + DeserializeOwned + fmt::Debug + Send + Sync {
    /// Key in the step log. Renaming it orphans unfinished operations.
    const NAME: &'static str;
    /// What the step leaves behind for later steps and for its own undo.
    type Output: Serialize + DeserializeOwned + Send;

    /// The step in words, as a person reads it while it runs.
    fn title(&self) -> String;

    /// Share of the progress bar. Seconds on a warm machine is a good guess.
    fn weight(&self) -> u32 {
        1
    }

    /// Whether the step runs to its end when another step of the plan fails: what it makes is worth keeping.
    fn outlasts_failures(&self) -> bool {
        false
    }

    /// Whether all that it makes is on the target: there is nothing to take back when the target itself goes.
    fn is_on_target(&self) -> bool {
        false
    }

    /// What was done, in words.
    fn summary(&self, output: &Self::Output) -> String;

    /// Looks at the world and says whether the work is already done.
    fn check(&self, cx: &StepContext) -> impl Future<Output = Result<Option<Self::Output>, StepError>> + Send;

    /// Does the work. Safe to call again after a crash half way.
    fn run(&self, cx: &StepContext) -> impl Future<Output = Result<Self::Output, StepError>> + Send;

    /// Takes the work back and says what was removed or restored. `left` is `None` when `run` began but never reported.
    fn undo(
        &self,
        cx: &StepContext,
        left: Option<Self::Output>,
    ) -> impl Future<Output = Result<Vec<String>, StepError>> + Send;
}

/// Says how a step failed, and so what the engine does: try again, unwind, or just stop.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StepError {
    /// It may work in a moment.
    #[error("{}", .0.message)]
    Transient(Failure),
    /// It will not work.
    #[error("{}", .0.message)]
    Permanent(Failure),
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
}

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
    pub has_orphans: Arc<AtomicBool>,
    /// Told when somebody resumes the operation.
    pub resumed: Arc<Notify>,
    /// How many steps of this server are at work: a stop waits for them, but not for those that are parked.
    pub working: watch::Sender<usize>,
}

/// A step that is not at work for a while.
struct Parked<'a>(&'a watch::Sender<usize>);

impl<'a> Parked<'a> {
    fn new(working: &'a watch::Sender<usize>) -> Self {
        working.send_modify(|count| *count -= 1);
        Self(working)
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count += 1);
    }
}

impl StepContext {
    /// What an earlier step of this plan left behind.
    ///
    /// # Errors
    /// A permanent failure when the plan has no such step before this one.
    pub fn output<A: StepAction>(&self) -> Result<A::Output, StepError> {
        self.try_output::<A>()?.ok_or_else(|| {
            StepError::Permanent(Failure {
                code: "internal_error".into(),
                message: format!("the step `{}` needs `{}`, which left nothing behind", self.step, A::NAME),
                next_step: "Report this with the operation's id".into(),
                output: Vec::new(),
            })
        })
    }

    /// What an earlier step left behind; `None` when the plan has no such step.
    ///
    /// # Errors
    /// A permanent failure when what is stored cannot be read.
    pub fn try_output<A: StepAction>(&self) -> Result<Option<A::Output>, StepError> {
        let Some(value) = self.outputs.get(A::NAME) else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|error| unreadable(A::NAME, &error))
    }

    /// The EC2 instance that the application runs on: as an earlier step of this plan made or found it, else as the
    /// record of the target has it. `None` for a target that is no instance.
    ///
    /// # Errors
    /// A permanent failure when what is stored cannot be read.
    pub fn instance(&self) -> Result<Option<Instance>, StepError> {
        if let Some(provisioned) = self.try_output::<ProvisionInstance>()? {
            return Ok(Some(provisioned.instance));
        }
        if let Some(found) = self.try_output::<FindInstance>()? {
            return Ok(Some(found.instance));
        }
        Ok(self.target.instance.clone())
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
        let Some(address) = self.ssh_address()? else { return Ok(self.hosts.local().clone()) };
        let host = self.hosts.connect(self.target.id, &address).await?;
        if self.has_orphans.swap(false, Ordering::Relaxed) {
            host.connection.await_orphans(&self.calls_on(&host), LEFT_BEHIND_LIMIT, &self.lines, &self.cancel).await?;
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
        let instance = self.instance()?.ok_or_else(|| unrecorded(&self.target))?;
        let folder = self.target_folder();
        Ok(Some(ssh_address(&instance, self.settings.ssh.private_key_base_path.as_deref(), &folder)?))
    }

    /// Waits for programs of this step that an earlier attempt or server left behind: here now, on another machine as
    /// soon as it is used.
    ///
    /// # Errors
    /// When the workspace cannot be read.
    pub async fn await_orphans(&self) -> Result<(), StepError> {
        self.has_orphans.store(true, Ordering::Relaxed);
        Connection::Local.await_orphans(&self.calls_folder(), LEFT_BEHIND_LIMIT, &self.lines, &self.cancel).await?;
        Ok(())
    }

    /// A client of the cluster's API.
    ///
    /// # Errors
    /// When kind does not know the cluster or its API does not answer.
    pub async fn kube(&self, cluster: &ClusterName) -> Result<Kube, StepError> {
        match self.target.mode {
            Mode::Local | Mode::CloudLocal => Ok(self.host().await?.kube(cluster, &self.target_folder()).await?),
            Mode::CloudHosted => {
                let known = self.cluster()?;
                Ok(account::kube_of(&self.aws(&known.region).await?, &known).await?)
            }
        }
    }

    /// Whether the image may be removed: no version that may run again needs it (those of `but_for` do not count), and
    /// no other operation can be about to load it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_image_free(&self, image: &ImageRef, but_for: Option<DeploymentId>) -> Result<bool, StepError> {
        Ok(!self.store.is_image_used(image, but_for).await?
            && !self.store.is_image_awaited(image, &self.deployment.repository, self.deployment.id).await?)
    }

    /// Takes the target's lock, and waits while another operation holds it.
    ///
    /// # Errors
    /// When the step is cancelled meanwhile or the store does not answer.
    pub async fn lock_target(&self) -> Result<(), StepError> {
        while !self.store.lock_target(self.target.id, self.operation).await? {
            self.lines.progress("another operation works on the cluster; waiting for it");
            tokio::select! {
                () = tokio::time::sleep(LOCK_RETRY) => (),
                () = self.cancel.cancelled() => return Err(StepError::Cancelled),
            }
        }
        Ok(())
    }

    /// Waits on something outside of this server, for `pause` or until somebody resumes the operation, which says
    /// meanwhile what is missing. The caller looks again, and calls [`StepContext::go_on`] when it waits no more.
    ///
    /// # Errors
    /// When the step is cancelled meanwhile or the store does not answer.
    pub async fn park(&self, missing: &str, pause: Duration) -> Result<(), StepError> {
        if !self.is_parked().await? {
            // Not by way of its lines: whoever hears that the operation waits asks at once for what.
            let text = self.redactor.redact(missing).into_owned();
            self.store.publish(self.operation, EventKind::StepProgress { step: self.step.to_owned(), text }).await?;
            self.store.set_operation_state(self.operation, OperationState::Waiting).await?;
        }
        let _parked = Parked::new(&self.working);
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.resumed.notified() => Ok(()),
            () = self.cancel.cancelled() => Err(StepError::Cancelled),
        }
    }

    /// Lets an operation that waited run again.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn go_on(&self) -> Result<(), StepError> {
        if self.is_parked().await? {
            self.store.set_operation_state(self.operation, OperationState::Running).await?;
        }
        Ok(())
    }

    async fn is_parked(&self) -> Result<bool, StepError> {
        let operation = self.store.operation(self.operation).await?;
        Ok(operation.is_some_and(|it| it.state == OperationState::Waiting))
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

    /// The folder where this step's programs write on a host, so that the next start finds those that still run.
    #[must_use]
    pub fn calls_on(&self, host: &Host) -> PathBuf {
        host.operation_folder(self.operation).join(self.step)
    }

    /// The same on this machine.
    #[must_use]
    pub fn calls_folder(&self) -> PathBuf {
        let operations = self.settings.store.workspace.join("operations");
        operations.join(self.operation.to_string()).join(self.step)
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
        known_hosts: folder.join("known_hosts"),
        alias: instance.id.clone(),
        host_keys: instance.host_keys.clone(),
    })
}

/// What a sealed secret is bound to.
#[must_use]
pub fn secret_context(operation: OperationId, name: &str) -> String {
    format!("{operation}/{name}")
}

fn unreadable(name: &str, error: &serde_json::Error) -> StepError {
    StepError::Permanent(Failure {
        code: "internal_error".into(),
        message: format!("what the step `{name}` left behind cannot be read: {error}"),
        next_step: "Was the server updated in between? Cancel the operation and start it again".into(),
        output: Vec::new(),
    })
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        Self::Transient(Failure {
            code: "store_unavailable".into(),
            message: error.to_string(),
            next_step: "Check that the database is up and the disk is not full".into(),
            output: Vec::new(),
        })
    }
}

impl From<SecretError> for StepError {
    fn from(error: SecretError) -> Self {
        Self::Permanent(Failure {
            code: "secret_unreadable".into(),
            message: error.to_string(),
            next_step: "Start the server with the `ENCRYPTION_KEY` that it had, or send the request again".into(),
            output: Vec::new(),
        })
    }
}

/// Declares all steps, once: the enum that a plan stores, and the way from it to each step's `StepAction`.
macro_rules! steps {
    ($($step:ident),+ $(,)?) => {
        /// Any step.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "each variant is the step of that name")]
        #[expect(clippy::large_enum_variant, reason = "a plan keeps its steps in boxes")]
        pub enum Step {
            $($step($step),)+
        }

        $(impl From<$step> for Step {
            fn from(step: $step) -> Self {
                Self::$step(step)
            }
        })+

        impl Step {
            /// Key in the step log.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$step(_) => $step::NAME,)+ }
            }

            /// The step in words.
            #[must_use]
            pub fn title(&self) -> String {
                match self { $(Self::$step(step) => step.title(),)+ }
            }

            /// Share of the progress bar.
            #[must_use]
            pub fn weight(&self) -> u32 {
                match self { $(Self::$step(step) => step.weight(),)+ }
            }

            /// Whether the step runs to its end when another one fails.
            #[must_use]
            pub fn outlasts_failures(&self) -> bool {
                match self { $(Self::$step(step) => step.outlasts_failures(),)+ }
            }

            /// What was done, in words.
            #[must_use]
            pub fn summary(&self, output: &Value) -> String {
                match self { $(Self::$step(step) => {
                    serde_json::from_value(output.clone()).map(|output| step.summary(&output)).unwrap_or_default()
                })+ }
            }

            /// Looks whether the work is already done.
            ///
            /// # Errors
            /// What the step says.
            pub async fn check(&self, cx: &StepContext) -> Result<Option<Value>, StepError> {
                let found = match self { $(Self::$step(step) => {
                    let found = Box::pin(step.check(cx)).await;
                    found.and_then(|it| it.map(|output| to_value($step::NAME, output)).transpose())
                })+ };
                cx.explained(found).await
            }

            /// Does the work.
            ///
            /// # Errors
            /// What the step says.
            pub async fn run(&self, cx: &StepContext) -> Result<Value, StepError> {
                let done = match self { $(Self::$step(step) => {
                    Box::pin(step.run(cx)).await.and_then(|output| to_value($step::NAME, output))
                })+ };
                cx.explained(done).await
            }

            /// Takes the work back.
            ///
            /// # Errors
            /// What the step says.
            pub async fn undo(&self, cx: &StepContext, left: Option<Value>) -> Result<Vec<String>, StepError> {
                if self.is_on_target() && cx.target_goes().await? {
                    return Ok(Vec::new());
                }
                let undone = match self { $(Self::$step(step) => {
                    let left = left.map(serde_json::from_value).transpose().map_err(|error| unreadable($step::NAME, &error))?;
                    Box::pin(step.undo(cx, left)).await
                })+ };
                match cx.explained(undone).await {
                    // What was on it is gone with it.
                    Err(error) if machine::is_gone(&error) => Ok(Vec::new()),
                    undone => undone,
                }
            }

            fn is_on_target(&self) -> bool {
                match self { $(Self::$step(step) => step.is_on_target(),)+ }
            }
        }
    };
}

steps!(
    CheckHostedAccount,
    ProvisionRepository,
    PushImage,
    ProvisionCluster,
    FindCluster,
    RequestCertificate,
    AwaitCertificate,
    InstallIngress,
    CreateAlias,
    UninstallIngress,
    ReleaseIngress,
    RemoveAlias,
    RemoveCertificate,
    DestroyCluster,
    DestroyRepository,
    AnalyseRepository,
    ApplyApplication,
    BootstrapHost,
    BuildImage,
    CheckAccount,
    CloneRepository,
    CreateCluster,
    DeleteCluster,
    DestroyInstance,
    FindInstance,
    LoadImage,
    PreloadBaseImage,
    ProvisionInstance,
    PruneVersions,
    RemoveApplication,
    RemoveImages,
    RemoveWorkspace,
    ScaleApplication,
    VerifyAccount,
    VerifyApplication,
    VerifyRemoval,
    WaitForRollout,
);

fn to_value(name: &str, output: impl Serialize) -> Result<Value, StepError> {
    serde_json::to_value(output).map_err(|error| unreadable(name, &error))
}
