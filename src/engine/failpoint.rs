//! Points at which a story has a step panic. They are files in the workspace; what is shipped does not look at them.

use std::path::Path;

/// Panics with the text of the file `failpoints/STEP.MOMENT` of the workspace, when it is there.
#[cfg(debug_assertions)]
pub(super) fn hit(workspace: &Path, step: &str, moment: &str) {
    let file = workspace.join("failpoints").join(format!("{step}.{moment}"));
    if let Ok(text) = std::fs::read_to_string(file) {
        panic!("{text}");
    }
}

#[cfg(not(debug_assertions))]
pub(super) fn hit(_: &Path, _: &str, _: &str) {}
