//! A build that failed, in words about the Dockerfile as the repository has it, or as it was made here.

use super::error::StepError;
use crate::cloud::docker::build::BuildRequest;
use crate::cloud::docker::build_failure::{BuildError, DockerfileSource};
use crate::host::remote_build::RemoteBuildError;
use crate::repository::analysis::Analysis;
use crate::repository::error::located;

/// Says what was built.
pub(super) fn build_error(
    error: impl Into<RemoteBuildError>,
    request: &BuildRequest,
    analysis: &Analysis,
) -> StepError {
    let source = DockerfileSource {
        path: analysis.generated.is_none().then(|| analysis.dockerfile.clone()),
        context: analysis.context.clone(),
        build_args: request.build_args.keys().cloned().collect(),
    };
    match error.into() {
        RemoteBuildError::Build(error) => and_more(error.in_dockerfile(source), analysis),
        error @ (RemoteBuildError::Docker(_) | RemoteBuildError::Tool(_)) => error.into(),
    }
}

/// The failure of a build with what else it would have failed for, so that one push mends all of it.
fn and_more(error: BuildError, analysis: &Analysis) -> StepError {
    let failed_at = match &error {
        BuildError::Failed(fault) => fault.line.and_then(|line| usize::try_from(line).ok()),
        BuildError::Transient { .. } | BuildError::TimedOut { .. } | BuildError::Context(_) | BuildError::Docker(_) => {
            return error.into();
        }
    };
    let mut error = StepError::from(error);
    let (StepError::Permanent(failure) | StepError::Explained(failure)) = &mut error else { return error };
    let others = analysis.needs.missing.iter().filter(|it| failed_at != Some(it.line));
    let others: Vec<String> = others.map(|it| located(&analysis.dockerfile, it.line, &it.what)).collect();
    if !others.is_empty() {
        failure.message = format!("{}. The build would fail for more: {}", failure.message, others.join("; "));
    }
    error
}
