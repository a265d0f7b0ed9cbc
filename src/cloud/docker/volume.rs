//! Volumes that the daemon holds.

use std::collections::HashMap;

use bollard::query_parameters::{ListVolumesOptions, RemoveVolumeOptions};

use super::{Docker, DockerError};

impl Docker {
    /// Removes all volumes whose names begin so, and says which there were.
    ///
    /// # Errors
    /// [`DockerError`] when the daemon does not answer, or a container uses one.
    pub async fn remove_volumes(&self, prefix: &str) -> Result<Vec<String>, DockerError> {
        let filters = HashMap::from([("name".to_owned(), vec![prefix.to_owned()])]);
        let options = ListVolumesOptions { filters: Some(filters) };
        let client = self.client()?;
        let listed = client.list_volumes(Some(options)).await.map_err(|error| self.error("list volumes", &error))?;
        let mut removed = Vec::new();
        for volume in listed.volumes.into_iter().flatten().filter(|it| it.name.starts_with(prefix)) {
            match client.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await {
                Ok(()) => removed.push(volume.name),
                Err(error) => {
                    let error = self.error(format!("remove volume `{}`", volume.name), &error);
                    if !error.is_not_found() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(removed)
    }
}
