//! `doctor`: looks at everything that each mode needs, changes nothing, and says what to do.
//!
//! All checks run at the same time, each for five seconds at most. Only for one mode that was asked for AWS is called: its
//! rights take longer.

mod cloud;
pub mod finding;
mod local;
mod probe;
mod server;

use std::fmt;
use std::path::Path;

use futures_util::future::join_all;
use serde_json::json;

use crate::config::{ConfigError, Settings, Warning};
use crate::id::Mode;
use crate::logging;

use finding::{Area, CHECK_TIMEOUT, Finding, Status, Verdict};

/// Everything that was found.
#[derive(Debug)]
pub struct Findings {
    found: Vec<Finding>,
    /// The one mode that was asked for.
    mode: Option<Mode>,
}

/// Looks at everything, or at what one mode needs; then AWS is asked for its rights, too.
pub async fn examine(
    loaded: Result<(Settings, Vec<Warning>), ConfigError>,
    directory: &Path,
    mode: Option<Mode>,
) -> Findings {
    let mut findings = vec![log_config(directory)];
    let settings = match loaded {
        Ok((settings, warnings)) => {
            findings.splice(0..0, right_settings(&warnings));
            settings
        }
        Err(error) => {
            findings.splice(0..0, wrong_settings(&error));
            return Findings { found: findings, mode };
        }
    };
    let mut checks = server::checks(&settings, directory);
    checks.extend(local::checks(&settings));
    checks.extend(cloud::checks(&settings, mode));
    checks.retain(|(area, _, _)| mode.is_none_or(|mode| [Area::Common, Area::of(mode)].contains(area)));
    let running = checks.into_iter().map(|(area, name, check)| async move {
        let verdict = tokio::time::timeout(CHECK_TIMEOUT, check).await;
        let late = |_| Verdict::fail("gave no answer within 5 s", "see whether the machine is busy, then try again");
        verdict.unwrap_or_else(late).of(area, name)
    });
    let (checked, rights) = tokio::join!(join_all(running), Box::pin(cloud::rights(&settings, mode)));
    findings.extend(checked);
    findings.extend(rights);
    Findings { found: findings, mode }
}

impl Findings {
    /// Whether nothing is missing that the mode needs: local mode, unless another was asked for.
    #[must_use]
    pub fn works(&self) -> bool {
        let needed = [Area::Common, Area::of(self.mode.unwrap_or(Mode::Local))];
        !self.found.iter().any(|it| it.status == Status::Fail && needed.contains(&it.area))
    }

    /// One JSON object, on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let report = match self.mode {
            None => json!({ "local_works": self.works(), "checks": self.found }),
            Some(mode) => json!({ "mode": mode, "works": self.works(), "checks": self.found }),
        };
        format!("{report}\n")
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut area = None;
        for finding in &self.found {
            if area.replace(finding.area) != Some(finding.area) {
                writeln!(f, "{}", finding.area)?;
            }
            write!(f, "  {:<5} {}: {}", finding.status, finding.name, finding.found)?;
            if !finding.advice.is_empty() {
                write!(f, "; {}", finding.advice)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn right_settings(warnings: &[Warning]) -> Vec<Finding> {
    let mut findings = vec![Verdict::ok("all values are allowed").of(Area::Common, "settings")];
    findings.extend(
        warnings.iter().map(|it| Verdict::warn(it.to_string(), "correct the line").of(Area::Common, "settings")),
    );
    findings
}

fn wrong_settings(error: &ConfigError) -> Vec<Finding> {
    let texts = match error {
        ConfigError::Invalid(wrong) => wrong.iter().map(ToString::to_string).collect(),
        ConfigError::Unreadable { .. } | ConfigError::Malformed { .. } => vec![error.to_string()],
    };
    let advice = "correct it, then run this again: the other checks need the settings";
    texts.into_iter().map(|it| Verdict::fail(it, advice).of(Area::Common, "settings")).collect()
}

fn log_config(directory: &Path) -> Finding {
    let verdict = match logging::check(directory) {
        Ok(true) => Verdict::ok("`log_config.toml` of the working directory"),
        Ok(false) => Verdict::ok("the built-in `log_config.toml`"),
        Err(error) => Verdict::fail(error.to_string(), "correct it, or remove the file to log to stderr"),
    };
    verdict.of(Area::Common, "log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn report(statuses: &[(Area, Status)]) -> Findings {
        let finding = |(area, status): &(Area, Status)| Finding {
            area: *area,
            name: "thing",
            status: *status,
            found: "as it is".to_owned(),
            advice: if *status == Status::Ok { String::new() } else { "mend it".to_owned() },
        };
        Findings { found: statuses.iter().map(finding).collect(), mode: None }
    }

    #[test]
    fn findings_are_one_line_each_under_who_needs_them() {
        let report = report(&[(Area::Common, Status::Ok), (Area::Local, Status::Warn), (Area::Local, Status::Fail)]);

        insta::assert_snapshot!(report, @r"
        common
          ok    thing: as it is
        local
          warn  thing: as it is; mend it
          fail  thing: as it is; mend it
        ");
    }

    #[test]
    fn only_what_local_mode_needs_makes_it_fail() {
        assert!(report(&[(Area::Common, Status::Warn), (Area::CloudHosted, Status::Fail)]).works());
        assert!(!report(&[(Area::Local, Status::Fail)]).works());
    }

    #[tokio::test]
    async fn wrong_settings_are_findings_and_the_rest_waits() {
        let sources = Sources::of(Path::new("/srv"), [("PORT", "x"), ("HOST", "y")]);

        let report = examine(Settings::load(&sources), Path::new("/srv"), None).await;

        let failed: Vec<&Finding> = report.found.iter().filter(|it| it.status == Status::Fail).collect();
        assert_eq!(failed.len(), 2);
        assert!(!report.works() && report.to_json().contains("\"area\":\"common\""));
    }

    #[tokio::test]
    async fn a_missing_program_is_named_with_its_setting_and_nothing_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let sources =
            Sources::of(directory.path(), [("GIT_PROGRAM", "./no-git"), ("DOCKER_HOST", "unix:///no/docker.sock")]);

        let report = examine(Settings::load(&sources), directory.path(), None).await.to_string();

        assert!(report.contains("fail  git: ") && report.contains("`GIT_PROGRAM`"), "{report}");
        assert!(report.contains("fail  docker: ") && report.contains("`DOCKER_HOST`"), "{report}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
