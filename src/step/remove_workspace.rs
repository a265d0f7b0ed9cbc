//! Removes the deployment's folder from the workspace.

use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::remove_application::Removed;
use super::{Act, StepContext, StepError};
use crate::event::Failure;

/// Removes the deployment's folder from the workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveWorkspace {}

impl Act for RemoveWorkspace {
    const NAME: &'static str = "remove_workspace";
    type Output = Removed;

    fn title(&self) -> String {
        "Remove its clone".to_owned()
    }

    fn summary(&self, output: &Removed) -> String {
        output.summary()
    }

    async fn check(&self, _: &StepContext) -> Result<Option<Removed>, StepError> {
        Ok(None)
    }

    async fn run(&self, cx: &StepContext) -> Result<Removed, StepError> {
        Ok(Removed { removed: remove_folder(&cx.deployment_folder()).await? })
    }

    async fn undo(&self, _: &StepContext, _: Option<Removed>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}

/// Removes a deployment's folder; one that is not there is no error.
pub(super) async fn remove_folder(folder: &Path) -> Result<Vec<String>, StepError> {
    match tokio::fs::remove_dir_all(folder).await {
        Ok(()) => Ok(vec!["clone of the repository".to_owned()]),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StepError::Permanent(Failure {
            code: "workspace_unavailable".into(),
            message: format!("the folder `{}` cannot be removed: {error}", folder.display()),
            next_step: "Check who owns the files in it, then try again".into(),
            output: Vec::new(),
        })),
    }
}
