//! A build that failed, in words about the Dockerfile as the repository has it, or as it was made here.

use super::error::StepError;
use crate::cloud::docker::build::BuildRequest;
use crate::cloud::docker::build_failure::DockerfileSource;
use crate::host::remote_build::RemoteBuildError;
use crate::repository::analysis::Analysis;

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
        RemoteBuildError::Build(error) => error.in_dockerfile(source).into(),
        error @ (RemoteBuildError::Docker(_) | RemoteBuildError::Tool(_)) => error.into(),
    }
}
