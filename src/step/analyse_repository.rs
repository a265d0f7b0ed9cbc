//! Finds out how the clone is built and what it serves.

use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::clone_repository::fetch_local_tree;
use super::context::StepContext;
use super::error::StepError;
use crate::id::DockerfilePath;
use crate::repository::analysis::{self, Analysis};

/// Finds out how the clone is built and what it serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnalyseRepository {
    /// The Dockerfile that the person named.
    pub dockerfile: Option<DockerfilePath>,
}

impl StepAction for AnalyseRepository {
    const NAME: &'static str = "analyse_repository";
    type Output = Analysis;

    fn title(&self) -> String {
        "Look at the repository".to_owned()
    }

    fn summary(&self, output: &Analysis) -> String {
        match &output.generated {
            Some(generated) => {
                format!("no Dockerfile; it is {}, so one was made for the build", generated.kind.described())
            }
            None => format!("`{}`", output.dockerfile),
        }
    }

    async fn run(&self, cx: &StepContext) -> Result<Analysis, StepError> {
        let (root, dockerfile) = (fetch_local_tree(cx, self.dockerfile.as_ref()).await?, self.dockerfile.clone());
        let default_port = cx.settings.kubernetes.default_container_port;
        let work = move || analysis::analyse(&root, dockerfile.as_ref(), default_port);
        let analysis = tokio::task::spawn_blocking(work).await.map_err(|error| {
            StepError::permanent(
                "internal_error",
                format!("the analysis of the repository broke off: {error}"),
                "Report this with the address of the repository",
            )
        })??;
        for warning in &analysis.warnings {
            cx.lines.warning(warning);
        }
        Ok(analysis)
    }
}
