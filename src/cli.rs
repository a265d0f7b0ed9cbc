//! The commands: `serve`, `migrate`, `openapi`, `doctor`.

pub mod doctor;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};

use crate::config::catalog::SETTINGS;
use crate::config::{ConfigError, Settings, Warning};

/// The arguments of the program.
#[derive(Debug, Parser)]
#[command(
    name = "on-demand-infra",
    version,
    long_version = LONG_VERSION,
    about = "Turns a chat request into a running application",
    long_about = LONG_ABOUT,
    after_help = "`--help` also lists all settings, with examples and exit codes.",
    after_long_help = after_help()
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What the program is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Runs the server (also without a command)
    Serve,
    /// Brings the store to this version's schema, and ends
    Migrate,
    /// Prints the description of the server's routes, as openapi.json
    Openapi,
    /// Checks every tool, version, credential and setting that each mode needs
    Doctor {
        /// Prints one JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
}

impl Arguments {
    /// The command that was given; `serve` when there was none.
    #[must_use]
    pub fn command(&self) -> Command {
        self.command.unwrap_or(Command::Serve)
    }
}

/// Runs a command that needs settings and the log.
///
/// # Errors
/// What made the command fail.
#[expect(clippy::unused_async, reason = "both commands await as soon as they have something to run")]
pub async fn run(command: &Command, settings: Settings) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve => bail!("`serve` is not there yet ({}:{})", settings.server.host, settings.server.port),
        Command::Migrate => bail!("`migrate` is not there yet ({})", settings.store.workspace.display()),
        Command::Openapi | Command::Doctor { .. } => bail!("this command runs without the log"),
    }
}

/// Prints the description of the routes.
///
/// # Errors
/// When it cannot be printed.
pub fn openapi() -> anyhow::Result<ExitCode> {
    bail!("`openapi` is not there yet")
}

/// Checks what each mode needs and prints what was found. Wrong settings are findings, too.
///
/// # Errors
/// When the findings cannot be printed.
pub async fn doctor(
    loaded: Result<(Settings, Vec<Warning>), ConfigError>,
    directory: &Path,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let report = doctor::examine(loaded, directory).await;
    let text = if json { report.to_json() } else { report.to_string() };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if report.local_works() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const LONG_ABOUT: &str = "Turns a chat request into a running application.\n\n\
    An OpenAI-compatible server: say what should run where, through curl, an OpenAI SDK or a chat page, \
    and it clones, builds and deploys, on a kind cluster here or in the cloud.";

const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nmodes:  local\nstores: SQLite, PostgreSQL\nconfig: on-demand-infra.toml, .env, log_config.toml in the working directory",
);

fn after_help() -> String {
    let settings: Vec<String> = SETTINGS
        .iter()
        .map(|it| match it.default {
            "" => format!("  {}", it.name),
            default => format!("  {} [{default}]", it.name),
        })
        .collect();
    format!(
        "Examples:\n  \
           on-demand-infra doctor                  what is missing on this machine, and what to do about it\n  \
           PORT=9000 on-demand-infra               the server on another port\n  \
           on-demand-infra openapi > openapi.json  the description of its routes\n\n\
         Settings, with their defaults (`.env.example` says what each is for). Later ones win: on-demand-infra.toml, .env, \
         environment; the first two are read from the working directory:\n{}\n\n\
         Exit codes:\n  \
           0  done; for `doctor`: local mode works\n  \
           1  failed; for `doctor`: something that local mode needs is missing\n  \
           2  a wrong argument, setting or log_config.toml; the message says which and what is allowed",
        settings.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        <Arguments as CommandFactory>::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves() {
        let arguments = Arguments::try_parse_from(["on-demand-infra"]).unwrap();

        assert_eq!(arguments.command(), Command::Serve);
    }

    #[test]
    fn the_help_names_every_setting_and_the_exit_codes() {
        let help = <Arguments as CommandFactory>::command().render_long_help().to_string();

        assert!(SETTINGS.iter().all(|it| help.contains(it.name)));
        assert!(help.contains("Exit codes:") && help.contains("doctor"));
    }
}
