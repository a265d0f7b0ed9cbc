//! A build of Maven or Gradle, as far as a Dockerfile has to know it.

use crate::repository::application::Sourced;

/// How a build is called, and what it leaves.
pub(super) struct Build {
    /// The file that describes it.
    pub(super) manifest: &'static str,
    /// The JDK that it asks for.
    pub(super) release: Option<Sourced<u32>>,
    /// The image that builds, without the JDK's release.
    pub(super) image: &'static str,
    /// The command.
    pub(super) command: String,
    /// The directory of the module that is the program; empty for the root.
    pub(super) module: String,
    /// Where the module's archives lie, below it.
    pub(super) archives: &'static str,
    /// The cache of its downloads.
    pub(super) cache: &'static str,
    /// What it is said to be.
    pub(super) framework: &'static str,
    /// The command that starts what it leaves.
    pub(super) start: &'static [&'static str],
}

/// Starts an archive.
pub(super) const JAVA: &[&str] = &["java", "-jar", "/app/app.jar"];
/// Starts what Gradle's task `installDist` leaves.
pub(super) const SCRIPT: &[&str] = &["/app/bin/app"];

/// The release of a JDK: 17 of `17`, `17.0.9`, `temurin-17.0.9`, `java.runtime.version=17`; 8 of `1.8`.
pub(super) fn release(text: &str) -> Option<u32> {
    let text = text.rsplit(['=', '-', '_']).find(|part| part.trim().starts_with(|c: char| c.is_ascii_digit()))?.trim();
    let mut parts = text.split('.').map(str::parse::<u32>);
    match (parts.next()?.ok()?, parts.next()) {
        (1, Some(Ok(release))) | (release, _) => (8..=99).contains(&release).then_some(release),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_in_all_its_spellings() {
        for (text, expected) in [
            ("17", Some(17)),
            ("1.8", Some(8)),
            ("temurin-21.0.2", Some(21)),
            ("java.runtime.version=11", Some(11)),
            ("${java}", None),
            ("3", None),
        ] {
            assert_eq!(release(text), expected, "{text}");
        }
    }
}
