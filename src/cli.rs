//! The commands: `serve`, `migrate`, `openapi`, `completions`, `man`, `doctor`, `key`, `audit`, `mcp`, `backup`.

mod audit;
mod backup;
mod connection;
pub mod doctor;
mod key;
mod mcp;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;
use strum::VariantNames as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::catalog::SETTINGS;
use crate::config::{ConfigError, Settings, Warning};
use crate::http;
use crate::id::Mode;
use crate::secret::key_file::{ApiKeys, api_keys};
use crate::store::Store;

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
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Runs the server (also without a command)
    Serve,
    /// Brings the store to this version's schema, and ends
    Migrate,
    /// Copies the SQLite store and Terraform's states into a new directory, also while the server runs
    Backup {
        /// Where to: a directory that is not there yet, and that can be a workspace afterwards
        directory: PathBuf,
    },
    /// Prints the description of the server's routes, as openapi.json
    Openapi,
    /// Prints what completes the program's commands in a shell
    Completions {
        /// The shell that is to read it
        shell: Shell,
    },
    /// Prints the program's page of the manual
    Man,
    /// Checks every tool, version, credential and setting that each mode needs
    Doctor {
        /// Prints one JSON object instead of lines
        #[arg(long)]
        json: bool,
        /// Checks only what this mode needs, and which of its rights the AWS credentials lack
        #[arg(long, value_parser = PossibleValuesParser::new(Mode::VARIANTS).try_map(|it| it.parse::<Mode>()))]
        mode: Option<Mode>,
    },
    /// Makes, lists, rotates and revokes the keys of callers
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Checks and exports the record of who did what
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Speaks the Model Context Protocol over stdin and stdout, for desktop programs, with a server that runs
    Mcp,
}

impl Arguments {
    /// The command that was given; `serve` when there was none.
    #[must_use]
    pub fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve)
    }
}

/// Runs a command that needs settings and the log.
///
/// # Errors
/// What made the command fail.
pub async fn run(command: &Command, settings: Settings) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve => serve(settings).await,
        Command::Migrate => {
            Store::open(&settings.store.database).await?.close().await;
            Ok(ExitCode::SUCCESS)
        }
        Command::Backup { .. }
        | Command::Openapi
        | Command::Completions { .. }
        | Command::Man
        | Command::Doctor { .. }
        | Command::Key(_)
        | Command::Audit(_)
        | Command::Mcp => {
            bail!("this command runs without the log")
        }
    }
}

/// Runs the server until SIGTERM or SIGINT, or until its store is lost.
async fn serve(mut settings: Settings) -> anyhow::Result<ExitCode> {
    let ApiKeys { keys, file } = api_keys(&settings)?;
    settings.server.api_keys = keys;
    if let Some(file) = file {
        tracing::warn!(file = %file.display(), "this address needs API keys and none is set: the one in this file counts");
    }
    let address = SocketAddr::new(settings.server.host, settings.server.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; set `HOST` or `PORT`"))?;
    let app = App::open(settings).await?;
    tracing::info!(address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "the server is ready");
    let stop = CancellationToken::new();
    let server = tokio::spawn(http::serve(http::router(app.clone()), listener, stop.clone()));
    let mut terminate = signal(SignalKind::terminate())?;
    let lost = app.lost_token();
    tokio::select! {
        _ = terminate.recv() => (),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        () = lost.cancelled() => (),
    }
    tracing::info!("the server stops: running steps come to a safe point first");
    stop.cancel();
    app.close(server).await;
    Ok(if lost.is_cancelled() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints the description of the routes.
///
/// # Errors
/// When it cannot be printed.
pub fn openapi() -> anyhow::Result<ExitCode> {
    let text = serde_json::to_string_pretty(&http::document())?;
    print(format!("{text}\n").as_bytes())
}

/// Prints what completes the commands in a shell.
///
/// # Errors
/// When it cannot be printed.
pub fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut <Arguments as CommandFactory>::command(), "on-demand-infra", &mut text);
    print(&text)
}

/// Prints the page of the manual.
///
/// # Errors
/// When it cannot be printed.
pub fn man() -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    Man::new(<Arguments as CommandFactory>::command()).render(&mut text)?;
    print(&text)
}

fn print(text: &[u8]) -> anyhow::Result<ExitCode> {
    std::io::stdout().write_all(text)?;
    Ok(ExitCode::SUCCESS)
}

/// Works on the keys or on the audit, of the server that runs or of its store; speaks for the one that runs; or copies
/// its store.
///
/// # Errors
/// What made the command fail.
pub async fn administer(command: &Command, settings: &Settings) -> anyhow::Result<ExitCode> {
    match command {
        Command::Key(command) => key::run(command, settings).await?,
        Command::Audit(command) => audit::run(command, settings).await?,
        Command::Mcp => mcp::run(settings).await?,
        Command::Backup { directory } => backup::run(directory, settings).await?,
        Command::Serve
        | Command::Migrate
        | Command::Openapi
        | Command::Completions { .. }
        | Command::Man
        | Command::Doctor { .. } => {
            bail!("this command is none for a server that runs")
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks what each mode needs and prints what was found. Wrong settings are findings, too.
///
/// # Errors
/// When the findings cannot be printed.
pub async fn doctor(
    loaded: Result<(Settings, Vec<Warning>), ConfigError>,
    directory: &Path,
    json: bool,
    mode: Option<Mode>,
) -> anyhow::Result<ExitCode> {
    let findings = doctor::examine(loaded, directory, mode).await;
    let text = if json { findings.to_json() } else { findings.to_string() };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if findings.works() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const LONG_ABOUT: &str = "Turns a chat request into a running application.\n\n\
    An OpenAI-compatible server: say what should run where, through curl, an OpenAI SDK or a chat page, \
    and it clones, builds and deploys, on a kind cluster here or in the cloud.";

const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nmodes:  local, cloud-local, cloud-hosted\nstores: SQLite, PostgreSQL\nconfig: on-demand-infra.toml, .env, log_config.toml in the working directory",
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
           on-demand-infra doctor --mode cloud-hosted   the same for one mode, with the rights on AWS\n  \
           PORT=9000 on-demand-infra               the server on another port\n  \
           on-demand-infra openapi > openapi.json  the description of its routes\n  \
           on-demand-infra completions bash        what completes its commands in a shell; `man` prints its page\n  \
           on-demand-infra key create --name root  the first key: from then on every request needs one\n  \
           on-demand-infra audit verify            whether anything in the record of who did what was altered\n  \
           on-demand-infra backup /backups/today   a copy of the SQLite store and of Terraform's states\n  \
           on-demand-infra mcp                     what a desktop program starts to use the server that runs\n\n\
         Settings, with their defaults (`.env.example` says what each is for). Later ones win: on-demand-infra.toml, .env, \
         environment; the first two are read from the working directory:\n{}\n\n\
         Exit codes:\n  \
           0  done; for `doctor`: the mode works, local mode unless one is named\n  \
           1  failed; for `doctor`: something that the mode needs is missing\n  \
           2  a wrong argument, setting or log_config.toml; the message says which and what is allowed",
        settings.join("\n")
    )
}

#[cfg(test)]
mod tests {
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
