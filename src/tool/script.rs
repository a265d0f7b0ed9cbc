//! Fixed shell scripts over a connection: run by `sh` here, and by ssh and `sh` there. What differs between two runs of one
//! are its words, each quoted, and its input.

use std::ffi::OsString;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::secret::Redactor;
use crate::tool::connection::Connection;
use crate::tool::error::ToolError;
use crate::tool::process::{self, GRACE, InheritedEnv, LAST_LINES, RawOutput, RunOptions, Status};
use crate::tool::ssh::Session;
use crate::tool::ssh::error::SshError;

/// How long a connection that broke may take to come back.
pub(super) const RECONNECT_TIMEOUT: Duration = Duration::from_secs(90);
/// How often a script is begun again after a broken connection.
const MAX_RECONNECTS: usize = 5;
/// The pause before the first of these times; it doubles.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// How long a script may take, beside what it runs or waits for.
pub(super) const SCRIPT_TIMEOUT: Duration = Duration::from_secs(20);

/// A script and what it is given.
#[derive(Debug)]
pub(super) struct Script {
    /// What it calls itself in messages.
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) words: Vec<OsString>,
    pub(super) input: Vec<u8>,
    /// What it gets of the server's environment on this machine.
    pub(super) inherited: InheritedEnv,
    /// How long it may take.
    pub(super) timeout: Duration,
    /// The program that it is run for, as errors name it.
    pub(super) program: String,
    /// What its lines must not show.
    pub(super) redactor: Redactor,
}

impl Script {
    /// A script for its own sake, without words and input.
    pub(super) fn new(name: &'static str, text: &'static str) -> Self {
        Self {
            name,
            text,
            words: Vec::new(),
            input: Vec::new(),
            inherited: InheritedEnv::default(),
            timeout: SCRIPT_TIMEOUT,
            program: name.to_owned(),
            redactor: Redactor::default(),
        }
    }

    fn cancelled(&self) -> ToolError {
        ToolError::Cancelled { program: self.program.clone() }
    }
}

impl Connection {
    /// Runs a script to its end; after a broken connection again. One that just broke may look whole for a moment, so it is
    /// tried a few times.
    pub(super) async fn run_script(
        &self,
        script: &Script,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<RawOutput, ToolError> {
        let mut pauses =
            ExponentialBuilder::default().with_min_delay(MIN_BACKOFF).with_max_times(MAX_RECONNECTS).build();
        loop {
            if cancel.is_cancelled() {
                return Err(script.cancelled());
            }
            let result = self.run_script_once(script, lines, cancel).await;
            let (Err(ToolError::Ssh(SshError::ConnectionLost { .. })), Self::Ssh(ssh), Some(pause)) =
                (&result, self, pauses.next())
            else {
                return result;
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => (),
                () = cancel.cancelled() => return Err(script.cancelled()),
            }
            match ssh.reconnect(RECONNECT_TIMEOUT, lines, cancel).await {
                Err(SshError::Cancelled) => return Err(script.cancelled()),
                again => again?,
            }
        }
    }

    async fn run_script_once(
        &self,
        script: &Script,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<RawOutput, ToolError> {
        let (command, session) = self.script_command(script).await?;
        let Script { program: name, redactor, input, timeout, .. } = script;
        let options = RunOptions { name, input: Some(input), redactor, timeout: *timeout, grace: GRACE };
        let output = process::run(command, &options, lines, cancel).await?;
        // A program may end with 255 too; it is ssh that failed when the connection has ended, or when it printed nothing.
        if let (Self::Ssh(ssh), Some(session), Status::Code(255)) = (self, session, output.status) {
            let lines = output.stderr.last_lines(LAST_LINES);
            if lines.is_empty() || session.master.has_ended().await {
                return Err(ssh.connection_lost(&lines).into());
            }
        }
        Ok(output)
    }

    /// The command that runs a script, and the turn on the connection that it needs for as long as it runs.
    pub(super) async fn script_command(&self, script: &Script) -> Result<(Command, Option<Session<'_>>), ToolError> {
        match self {
            Self::Local => {
                let mut command = process::command("/bin/sh", &script.inherited);
                command.args(["-c", script.text, script.name]).args(&script.words);
                Ok((command, None))
            }
            Self::Ssh(ssh) => {
                let session = ssh.session().await?;
                let words = script.words.iter().map(|word| word.to_string_lossy());
                let command = ssh.remote_command(&session.master, script.text, script.name, words);
                Ok((command, Some(session)))
            }
        }
    }
}
