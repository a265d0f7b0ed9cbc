//! What a look at the repository says of a plan that would build it: nothing of it is kept.

use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::App;
use crate::event::Lines;
use crate::id::{OperationId, Port};
use crate::plan::Plan;
use crate::repository::analysis::{self, Analysis};
use crate::step::analyse_repository::AnalyseRepository;
use crate::step::builder_choice;
use crate::step::clone_repository::CloneRepository;
use crate::tool::connection::Connection;
use crate::tool::git::{RepositorySource, Resolved};
use crate::tool::step_calls::StepCalls;

/// How long the repository may take to come: a plan is shown without it then.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What would be built.
#[derive(Debug, Default)]
pub(super) struct Preview {
    /// In sentences.
    pub(super) sentences: Vec<String>,
    /// Of which commit.
    pub(super) resolved: Option<Resolved>,
    /// The port that the Dockerfile tells.
    pub(super) port: Option<Port>,
    /// The Dockerfile that would be made.
    pub(super) dockerfile: Option<String>,
    /// Why the look came to nothing.
    pub(super) failure: Option<String>,
}

impl App {
    /// Looks at the repository of a plan that builds one.
    pub(super) async fn preview(&self, plan: &Plan, token: Option<&SecretString>) -> Preview {
        let (Some(clone), Some(analyse)) =
            (plan.parameters::<CloneRepository>(), plan.parameters::<AnalyseRepository>())
        else {
            return Preview::default();
        };
        // Folders of operations that nobody knows are removed with the time, also what a killed server leaves here.
        let folder = self.0.settings.store.workspace.join("operations").join(OperationId::new().to_string());
        let cancel = self.0.shutdown.child_token();
        let look = self.look_at_repository(&clone, analyse, token, &folder, &cancel);
        let mut look = std::pin::pin!(look);
        let looked = tokio::select! {
            looked = &mut look => looked,
            () = tokio::time::sleep(TIMEOUT) => {
                cancel.cancel();
                let _ = look.await;
                Err(format!("it did not come within {} s", TIMEOUT.as_secs()))
            }
        };
        let _ = Connection::Local.remove_folder(&folder).await;
        match looked {
            Ok((resolved, analysis)) => Preview {
                port: analysis.first_tcp_port(),
                resolved: Some(resolved),
                sentences: std::iter::once(format!("What would be built: {}.", analysis.described()))
                    .chain(analysis.warnings)
                    .collect(),
                dockerfile: analysis.generated.map(|it| it.dockerfile),
                failure: None,
            },
            Err(reason) => Preview {
                sentences: vec![format!("The repository was looked at: {reason}.")],
                failure: Some(reason),
                ..Preview::default()
            },
        }
    }

    async fn look_at_repository(
        &self,
        clone: &CloneRepository,
        analyse: AnalyseRepository,
        token: Option<&SecretString>,
        folder: &std::path::Path,
        cancel: &CancellationToken,
    ) -> Result<(Resolved, Analysis), String> {
        let git = &self.0.hosts.local().git;
        let source = RepositorySource { url: &clone.repository, git_ref: clone.git_ref.as_ref(), token };
        let lines = Lines::none();
        let resolved = git.resolve(&source, &lines, cancel).await.map_err(|error| error.to_string())?;
        let (root, calls) = (folder.join("clone"), StepCalls::in_folder(folder.join("calls")));
        git.clone(&source, &resolved, &root, &calls, &lines, cancel).await.map_err(|error| error.to_string())?;
        let (settings, AnalyseRepository { directory, dockerfile, build }) = (self.0.settings.clone(), analyse);
        let work = move || {
            let (port, choice) = (settings.kubernetes.default_container_port, builder_choice::choice(&settings));
            let (directory, dockerfile) = (directory.as_ref(), dockerfile.as_ref());
            let analysed = analysis::analyse(&root, directory, dockerfile, &build, port, choice);
            analysed.map_err(|it| it.to_string())
        };
        let analysed = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
        analysed.map(|it| (resolved, it))
    }
}
