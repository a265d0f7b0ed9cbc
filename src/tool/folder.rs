//! Folders of the workspace, which only the server's user may look into.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

const PRIVATE: u32 = 0o700;

/// Makes a folder, and those above it that are not there, for its owner alone; one that is there is closed to others.
///
/// # Errors
/// What the file system says.
pub fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE).create(folder)?;
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(PRIVATE))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_looks_into_a_folder_nor_into_those_above_that_are_new() {
        let root = tempfile::tempdir().unwrap();
        let (old, new) = (root.path().join("old"), root.path().join("operations/1/build"));
        fs::create_dir(&old).unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o755)).unwrap();

        make_private(&old).unwrap();
        make_private(&new).unwrap();

        for folder in [&old, &new, new.parent().unwrap(), &root.path().join("operations")] {
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, PRIVATE, "{}", folder.display());
        }
    }
}
