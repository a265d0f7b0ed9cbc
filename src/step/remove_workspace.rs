//! Removes the deployment's folder from the workspace.

use serde::{Deserialize, Serialize};

use super::remove_application::Removed;
use super::{StepAction, StepContext, StepError};
use crate::event::Failure;
use crate::tool::ToolError;
use crate::tool::connection::Connection;

/// Removes the deployment's folder from the workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveWorkspace {}

impl StepAction for RemoveWorkspace {
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
        Ok(Removed { removed: remove_folders(cx).await? })
    }

    async fn undo(&self, _: &StepContext, _: Option<Removed>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}

/// Removes a deployment's folders; one that is not there is no error.
pub(super) async fn remove_folders(cx: &StepContext) -> Result<Vec<String>, StepError> {
    let there = if cx.target_goes().await? {
        Ok(false)
    } else {
        let host = cx.host().await?;
        host.connection.remove_folder(&host.deployment_folder(cx.deployment.id)).await
    };
    // Of a clone on another machine only the tree manifest is here.
    let here = Connection::Local.remove_folder(&cx.deployment_folder()).await;
    match (there, here) {
        (Ok(there), Ok(here)) => {
            Ok(if there || here { vec!["clone of the repository".to_owned()] } else { Vec::new() })
        }
        (Err(ToolError::Files { path, source }), _) | (_, Err(ToolError::Files { path, source })) => {
            Err(StepError::Permanent(Failure {
                code: "workspace_unavailable".into(),
                message: format!("the folder `{path}` cannot be removed: {source}"),
                next_step: "Check who owns the files in it, then try again".into(),
                output: Vec::new(),
            }))
        }
        (Err(error), _) | (_, Err(error)) => Err(error.into()),
    }
}
