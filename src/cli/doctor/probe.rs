//! Asks a program for its version.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::finding::Verdict;
use crate::event::Lines;
use crate::tool::{Call, ToolError};

/// The first line that a program prints about its version, or what to do about it.
pub(super) async fn version(program: &Path, arguments: &[&str], remedy: &str) -> Result<String, Verdict> {
    let call = Call::new(program).args(arguments);
    match call.run(&Lines::none(), &CancellationToken::new()).await {
        Ok(output) => {
            let text = if output.stdout.trim().is_empty() { output.stderr } else { output.stdout };
            Ok(text.lines().next().unwrap_or_default().trim().to_owned())
        }
        Err(ToolError::NotRunnable { program, .. }) => Err(Verdict::fail(format!("`{program}` is not there"), remedy)),
        Err(error) => Err(Verdict::fail(error.to_string(), remedy)),
    }
}

/// The first `major.minor` in a text.
pub(super) fn major_minor(text: &str) -> Option<(u32, u32)> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_programs_say() {
        assert_eq!(major_minor("git version 2.39.5"), Some((2, 39)));
        assert_eq!(major_minor("kind v0.30.0 go1.24.3 linux/amd64"), Some((0, 30)));
        assert_eq!(major_minor("OpenSSH_9.2p1 Debian-2+deb12u7"), Some((9, 2)));
        assert_eq!(major_minor("no version"), None);
    }
}
