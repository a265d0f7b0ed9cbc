//! Asks a program for its version.

use std::io;
use std::path::Path;
use std::process::Stdio;

use super::Verdict;

/// The first line that a program prints about its version, or what to do about it.
pub(super) async fn version(program: &Path, arguments: &[&str], remedy: &str) -> Result<String, Verdict> {
    #[expect(
        clippy::disallowed_methods,
        reason = "asks for a version only: no secret, no user value, nothing to follow"
    )]
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let shown = program.display();
    match command.output().await {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let text = if text.trim().is_empty() { String::from_utf8_lossy(&output.stderr) } else { text };
            Ok(text.lines().next().unwrap_or_default().trim().to_owned())
        }
        Ok(output) => Err(Verdict::fail(format!("`{shown}` ends with {}", output.status), remedy)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Verdict::fail(format!("`{shown}` is not there"), remedy))
        }
        Err(error) => Err(Verdict::fail(format!("`{shown}` does not run ({error})"), remedy)),
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
