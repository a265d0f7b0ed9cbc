//! Sends an image to a registry: only the layers that it lacks.

use bollard::auth::DockerCredentials;
use bollard::models::ProgressDetail;
use bollard::query_parameters::{PushImageOptions, TagImageOptions};
use futures_util::StreamExt;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use super::{Docker, DockerError};
use crate::cloud::aws::ecr::Login;
use crate::event::Lines;
use crate::id::ImageRef;

/// What went to the registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PushStats {
    /// Layers that the registry lacked.
    pub layers_sent: usize,
    /// Layers that it had already.
    pub layers_present: usize,
}

impl PushStats {
    /// Takes a line of the daemon, which does not tell the layer's id through this client; gives what is worth telling.
    fn take(&mut self, status: &str, detail: &ProgressDetail) -> Option<String> {
        if status == "Pushed" {
            self.layers_sent += 1;
        } else if status.starts_with("Layer already exists") || status.starts_with("Mounted from") {
            self.layers_present += 1;
        } else if status != "Pushing" {
            return None;
        }
        let layers = format!("{} layers sent, {} were there", self.layers_sent, self.layers_present);
        Some(match (detail.current, detail.total) {
            (Some(current), Some(total)) if total > 0 => {
                format!("{layers}; {} of {} MB of the next one", current / 1_000_000, total.max(current) / 1_000_000)
            }
            _ => layers,
        })
    }
}

impl Docker {
    /// Sends an image to a registry under the name `repository:tag`, which it has here only meanwhile.
    ///
    /// # Errors
    /// [`DockerError`] when the daemon does not answer or the registry refuses; [`DockerError::Cancelled`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn push_to_registry(
        &self,
        image: &ImageRef,
        repository: &str,
        tag: &str,
        login: &Login,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<PushStats, DockerError> {
        let client = self.client()?;
        let there = format!("{repository}:{tag}");
        let options = TagImageOptions { repo: Some(repository.to_owned()), tag: Some(tag.to_owned()) };
        let tagged = client.tag_image(image.as_str(), Some(options)).await;
        tagged.map_err(|error| self.error(format!("name image `{image}` `{there}`"), &error))?;
        let credentials = DockerCredentials {
            username: Some(login.user.clone()),
            password: Some(login.password.expose_secret().to_owned()),
            serveraddress: repository.split('/').next().map(str::to_owned),
            ..DockerCredentials::default()
        };
        let options = PushImageOptions { tag: Some(tag.to_owned()), ..PushImageOptions::default() };
        let mut reports = std::pin::pin!(client.push_image(repository, Some(options), Some(credentials)));
        let mut pushed = PushStats::default();
        let sent = loop {
            let next = tokio::select! {
                next = reports.next() => next,
                () = cancel.cancelled() => break Err(DockerError::Cancelled),
            };
            match next {
                None => break Ok(()),
                Some(Err(error)) => break Err(self.error(format!("push image `{there}`"), &error)),
                Some(Ok(line)) => {
                    let detail = line.progress_detail.unwrap_or_default();
                    if let Some(text) = pushed.take(&line.status.unwrap_or_default(), &detail) {
                        lines.progress(text);
                    }
                }
            }
        };
        self.untag_pushed(repository, tag).await?;
        sent?;
        Ok(pushed)
    }

    /// Takes the name away under which an image was pushed; a push that was killed left it.
    ///
    /// # Errors
    /// [`DockerError`] when the daemon does not answer.
    pub async fn untag_pushed(&self, repository: &str, tag: &str) -> Result<(), DockerError> {
        match ImageRef::parse(format!("{repository}:{tag}")) {
            Ok(name) => self.untag(&name).await,
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_counted_by_what_the_daemon_says() {
        let mut pushed = PushStats::default();
        let at = |current, total| ProgressDetail { current: Some(current), total: Some(total) };

        assert_eq!(pushed.take("Preparing", &ProgressDetail::default()), None);
        let told = pushed.take("Pushing", &at(5_000_000, 20_000_000));
        assert_eq!(told.as_deref(), Some("0 layers sent, 0 were there; 5 of 20 MB of the next one"));
        pushed.take("Pushed", &ProgressDetail::default());
        pushed.take("Layer already exists", &ProgressDetail::default());

        assert_eq!(pushed, PushStats { layers_sent: 1, layers_present: 1 });
    }
}
