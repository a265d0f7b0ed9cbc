//! Steps: the units of work that a plan is made of. A step is data; `StepAction` is the one face that the engine sees.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use action::{StepAction, StepUndo};
use context::StepContext;
use error::StepError;

use crate::store::record::Deployment;

// What steps have in common.
pub mod aws_access;
pub mod action;
pub mod applied_application;
pub mod cloud_target;
pub mod cluster;
pub mod context;
pub mod environment;
pub mod error;
pub mod builder_choice;
mod foreign_build;
mod build_error;
mod facts;
mod host_keys;
mod ingress;
mod instance_failure;
mod cluster_entry;
mod pod_concerns;
mod port_watch;
mod problems;
mod provision;
pub mod removal;
mod scale_node_group;
mod socket_tables;
mod stop_pods;
pub mod unrecorded_workspaces;

// One step each.
pub mod analyse_repository;
pub mod apply_application;
pub mod await_certificate;
pub mod await_removals;
pub mod bootstrap_host;
pub mod build_image;
pub mod build_secrets;
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
pub mod restart_application;
pub mod return_nodes;
pub mod scale_application;
pub mod uninstall_ingress;
pub mod verify_account;
pub mod verify_application;
pub mod verify_removal;
pub mod wait_for_rollout;

/// Declares all steps, once: the enum that a plan stores, and the way from it to each step's `StepAction`.
///
/// A step implements `StepUndo`, or is marked: `(no undo)` when it leaves nothing behind that has to be taken back,
/// `(unlock only)` when there is nothing but the target's lock to give back.
macro_rules! steps {
    (@can_undo) => { true };
    (@can_undo no undo) => { false };
    (@can_undo unlock only) => { false };
    (@mark $step:ty,) => {};
    (@mark $step:ty, no undo) => {
        impl StepUndo for $step {
            async fn undo(&self, _: &StepContext, _: Option<Self::Output>) -> Result<Vec<String>, StepError> {
                Ok(Vec::new())
            }
        }
    };
    (@mark $step:ty, unlock only) => {
        impl StepUndo for $step {
            async fn undo(&self, cx: &StepContext, _: Option<Self::Output>) -> Result<Vec<String>, StepError> {
                cx.unlock_target().await?;
                Ok(Vec::new())
            }
        }
    };
    ($($module:ident::$step:ident $(($($undo:tt)+))?),+ $(,)?) => {
        /// Any step.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "each variant is the step of that name")]
        #[expect(clippy::large_enum_variant, reason = "a plan keeps its steps in boxes")]
        pub enum Step {
            $($step($module::$step),)+
        }

        $(steps!(@mark $module::$step, $($($undo)+)?);)+

        $(impl From<$module::$step> for Step {
            fn from(step: $module::$step) -> Self {
                Self::$step(step)
            }
        })+

        impl Step {
            /// Key in the table of steps.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$step(_) => <$module::$step as StepAction>::NAME,)+ }
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

            /// What was done, in words that follow the title.
            #[must_use]
            pub fn summary(&self, output: &Value) -> String {
                match self { $(Self::$step(step) => {
                    serde_json::from_value(output.clone()).map(|output| step.summary(&output)).unwrap_or_default()
                })+ }
            }

            /// Whether it turned out while it ran that there was nothing to do.
            #[must_use]
            pub fn had_nothing_to_do(&self, output: &Value) -> bool {
                match self { $(Self::$step(step) => {
                    serde_json::from_value(output.clone()).is_ok_and(|output| step.had_nothing_to_do(&output))
                })+ }
            }

            /// What the receipt of the operation says of it.
            #[must_use]
            pub fn receipt(&self, output: &Value) -> Vec<String> {
                match self { $(Self::$step(step) => {
                    serde_json::from_value(output.clone()).map(|output| step.receipt(&output)).unwrap_or_default()
                })+ }
            }

            /// Takes over what is known of the deployment from now on. What cannot be read tells nothing.
            pub fn record(&self, output: &Value, deployment: &mut Deployment) {
                match self { $(Self::$step(step) => {
                    if let Ok(output) = serde_json::from_value(output.clone()) {
                        step.record(&output, deployment);
                    }
                })+ }
            }

            /// Looks whether the work is already done.
            ///
            /// # Errors
            /// What the step says.
            pub async fn check(&self, cx: &StepContext) -> Result<Option<Value>, StepError> {
                let found = match self { $(Self::$step(step) => {
                    let found = Box::pin(step.check(cx)).await;
                    found.and_then(|it| it.map(|output| to_value(self.name(), output)).transpose())
                })+ };
                cx.explain_failure(found).await
            }

            /// Does the work.
            ///
            /// # Errors
            /// What the step says.
            pub async fn run(&self, cx: &StepContext) -> Result<Value, StepError> {
                let done = match self { $(Self::$step(step) => {
                    Box::pin(step.run(cx)).await.and_then(|output| to_value(self.name(), output))
                })+ };
                cx.explain_failure(done).await
            }

            /// Takes the work back.
            ///
            /// # Errors
            /// What the step says.
            pub async fn undo(&self, cx: &StepContext, left: Option<Value>) -> Result<Vec<String>, StepError> {
                if self.is_on_target() && cx.will_destroy_target().await? {
                    return Ok(Vec::new());
                }
                let undone = match self { $(Self::$step(step) => {
                    let left = left.map(serde_json::from_value).transpose().map_err(|error| StepError::unreadable(self.name(), &error))?;
                    Box::pin(step.undo(cx, left)).await
                })+ };
                match cx.explain_failure(undone).await {
                    // The instance is terminated: whatever the step had made on it no longer exists, so the undo counts
                    // as done.
                    Err(error) if instance_failure::is_instance_gone(&error) => Ok(Vec::new()),
                    undone => undone,
                }
            }

            /// Whether it leaves something behind that is taken back.
            #[must_use]
            pub fn can_be_undone(&self) -> bool {
                match self { $(Self::$step(_) => steps!(@can_undo $($($undo)+)?),)+ }
            }

            fn is_on_target(&self) -> bool {
                match self { $(Self::$step(step) => step.is_on_target(),)+ }
            }
        }
    };
}

steps!(
    analyse_repository::AnalyseRepository (no undo),
    apply_application::ApplyApplication,
    await_certificate::AwaitCertificate (no undo),
    await_removals::AwaitRemovals (no undo),
    bootstrap_host::BootstrapHost (no undo),
    build_image::BuildImage,
    check_account::CheckAccount (no undo),
    check_hosted_account::CheckHostedAccount (no undo),
    clone_repository::CloneRepository,
    create_alias::CreateAlias,
    create_cluster::CreateCluster,
    delete_cluster::DeleteCluster (no undo),
    destroy_cluster::DestroyCluster (unlock only),
    destroy_instance::DestroyInstance (unlock only),
    destroy_repository::DestroyRepository (no undo),
    find_cluster::FindCluster (no undo),
    find_instance::FindInstance (no undo),
    install_ingress::InstallIngress,
    load_image::LoadImage,
    preload_base_image::PreloadBaseImage,
    provision_cluster::ProvisionCluster,
    provision_instance::ProvisionInstance,
    provision_repository::ProvisionRepository,
    prune_versions::PruneVersions (no undo),
    push_image::PushImage (no undo),
    release_ingress::ReleaseIngress (unlock only),
    remove_alias::RemoveAlias (no undo),
    remove_application::RemoveApplication (no undo),
    remove_certificate::RemoveCertificate (no undo),
    remove_images::RemoveImages (no undo),
    remove_workspace::RemoveWorkspace (no undo),
    request_certificate::RequestCertificate,
    restart_application::RestartApplication,
    return_nodes::ReturnNodes (unlock only),
    scale_application::ScaleApplication,
    uninstall_ingress::UninstallIngress (unlock only),
    verify_account::VerifyAccount (no undo),
    verify_application::VerifyApplication (no undo),
    verify_removal::VerifyRemoval (no undo),
    wait_for_rollout::WaitForRollout (no undo),
);

fn to_value(name: &str, output: impl Serialize) -> Result<Value, StepError> {
    serde_json::to_value(output).map_err(|error| StepError::unreadable(name, &error))
}
