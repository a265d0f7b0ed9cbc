//! Entry point of the `on-demand-infra` program: arguments, settings, log, exit code.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use on_demand_infra::cli::{self, Arguments, Command};
use on_demand_infra::config::{ConfigError, Settings, Sources};
use on_demand_infra::engine;
use on_demand_infra::logging::{self, LoggingError};

/// Exit code for a wrong argument (clap's own) or a wrong setting.
const WRONG_SETTING: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run(arguments).unwrap_or_else(|error| {
        // A write to a closed stderr fails, and there is no other place for the message: the result is ignored.
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        let setting = error.is::<ConfigError>() || error.is::<LoggingError>();
        if setting { ExitCode::from(WRONG_SETTING) } else { ExitCode::FAILURE }
    })
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let directory = std::env::current_dir().context("the working directory is gone")?;
    let loaded = Sources::read(&directory).and_then(|sources| Settings::load(&sources));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let command = arguments.command();
    let (settings, warnings) = match command {
        Command::Openapi => return cli::openapi(),
        Command::Completions { shell } => return cli::completions(shell),
        Command::Man => return cli::man(),
        Command::Doctor { json, mode } => return runtime.block_on(cli::doctor(loaded, &directory, json, mode)),
        Command::Key(_) | Command::Audit(_) | Command::Mcp | Command::Backup { .. } => {
            return runtime.block_on(cli::administer(&command, &loaded?.0));
        }
        Command::Serve | Command::Migrate => loaded?,
    };
    let _log = logging::init(&settings, &directory)?;
    engine::panic::log_caught_panics();
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    runtime.block_on(cli::run(&command, settings))
}
