//! What this server knows of an application that does not run: its image and its Dockerfile.

use super::analyse_repository::AnalyseRepository;
use super::applied_application::ApplicationApplied;
use super::clone_repository::CLONE_FOLDER;
use super::context::StepContext;
use crate::cloud::docker::dockerfile_line::stages;
use crate::diagnosis::facts::Facts;
use crate::id::ImageRef;

/// Who said its port.
pub(super) fn port_facts(applied: &ApplicationApplied) -> Facts {
    Facts::of_port(applied.port_source, applied.main_port, &applied.ports)
}

/// All that is known. What cannot be looked up is not known: the words are only poorer.
pub(super) async fn facts(cx: &StepContext, applied: Option<&ApplicationApplied>) -> Facts {
    let version = cx.deployment.facts.version.as_ref();
    let known = version.map(|it| Facts::of_port(it.port_source, it.main_port, &it.ports));
    let mut facts = applied.map(port_facts).or(known).unwrap_or_default();
    let image: Option<ImageRef> = applied.map(|it| it.image.clone()).or_else(|| version.map(|it| it.image.clone()));
    if let (Some(image), Ok(host)) = (image, cx.host().await)
        && let Ok(Some(info)) = host.docker.image(&image).await
    {
        facts.command = info.entrypoint.into_iter().chain(info.cmd).collect();
        facts.architecture = Some(info.architecture);
        facts.user = Some(info.user);
    }
    if let Ok(Some(analysis)) = cx.try_output::<AnalyseRepository>()
        && analysis.generated.is_none()
    {
        let file = cx.deployment_folder().join(CLONE_FOLDER).join(&analysis.dockerfile);
        facts.stages = stages(&tokio::fs::read_to_string(file).await.unwrap_or_default());
    }
    facts
}
