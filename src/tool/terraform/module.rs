//! The modules of `terraform/`, embedded in the program and unpacked where they are used.

use std::io;
use std::path::Path;

use rust_embed::Embed;

/// The module of an EC2 instance.
pub const CLOUD_LOCAL: &str = "cloud-local";
/// The module of an EKS cluster with its network.
pub const CLOUD_HOSTED: &str = "cloud-hosted";
/// The module of a repository for images.
pub const ECR: &str = "ecr";
/// The module of a certificate with the record that validates it.
pub const CERTIFICATE: &str = "certificate";
/// The module of a name that leads to a load balancer.
pub const ALIAS: &str = "alias";
/// All of them.
pub const ALL: [&str; 5] = [CLOUD_LOCAL, CLOUD_HOSTED, ECR, CERTIFICATE, ALIAS];

#[derive(Embed)]
#[folder = "terraform/"]
struct Files;

/// Writes the files of a module into a folder; those that are there already with the same text are left alone.
pub(super) fn unpack(module: &str, folder: &Path) -> io::Result<()> {
    let mut count = 0;
    for path in Files::iter() {
        let name = path.strip_prefix(module).and_then(|rest| rest.strip_prefix('/'));
        let Some(name) = name.filter(|it| !it.contains('/') && it.rsplit_once('.').is_some_and(|it| it.1 == "tf"))
        else {
            continue;
        };
        let Some(file) = Files::get(&path) else { continue };
        let place = folder.join(name);
        if std::fs::read(&place).ok().as_deref() != Some(&*file.data) {
            std::fs::write(place, &file.data)?;
        }
        count += 1;
    }
    if count == 0 {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no module `{module}`")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_unpacked_without_its_documentation() {
        let folder = tempfile::tempdir().unwrap();

        unpack(CLOUD_LOCAL, folder.path()).unwrap();

        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["main.tf", "outputs.tf", "variables.tf", "versions.tf"]);
        assert!(unpack("nothing", folder.path()).is_err());
    }
}
