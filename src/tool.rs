//! Calls of external programs: one argument at a time, no shell text from outside, bounded, cancellable, redacted.
//!
//! A call that only looks ([`Call::run`]) ends with us. A call that changes the world ([`Call::run_durably`]) writes
//! to files that we follow, so that it outlives a killed server; its process is on record before it works, and
//! [`settle`] waits for it at the next start.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::secret::Redactor;

pub mod durable;
pub mod git;
pub mod kind;

pub use durable::settle;

/// How long a program may take to end after SIGINT, before SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
/// How many of the last lines of output an error carries.
const LAST_LINES: usize = 20;
/// Standard output that is kept for parsing, at most.
const MAX_OUTPUT_BYTES: usize = 8 * 1024 * 1024;

/// One external program, from argv to exit.
#[derive(Debug)]
pub struct Call {
    program: OsString,
    args: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    inherited: Option<&'static [&'static str]>,
    redactor: Redactor,
    directory: Option<PathBuf>,
    timeout: Duration,
}

/// What a program printed before it ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output, redacted.
    pub stdout: String,
    /// Standard error, redacted.
    pub stderr: String,
}

/// Says how a call went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The program is not there or may not be run.
    #[error("cannot run `{program}`; install it, or set its path")]
    NotRunnable {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program ended with an error.
    #[error("`{program}` ended with {status}: {}", last_line(.lines))]
    Failed {
        /// The program and its first argument.
        program: String,
        /// Exit code or signal.
        status: String,
        /// The last lines that it printed, redacted.
        lines: Vec<String>,
    },
    /// The program took too long and was ended.
    #[error("`{program}` did not end within {} s", .limit.as_secs())]
    TimedOut {
        /// The program and its first argument.
        program: String,
        /// The limit.
        limit: Duration,
        /// The last lines that it printed, redacted.
        lines: Vec<String>,
    },
    /// Somebody asked to stop.
    #[error("`{program}` was cancelled")]
    Cancelled {
        /// The program and its first argument.
        program: String,
    },
    /// The files or pipes of the program failed.
    #[error("cannot follow `{program}`")]
    Io {
        /// The program and its first argument.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program printed something that cannot be understood.
    #[error("`{program}` printed something unexpected: {what}")]
    Unexpected {
        /// The program and its first argument.
        program: String,
        /// What was expected and what came.
        what: String,
    },
}

impl ToolError {
    /// The last lines that the program printed.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        match self {
            Self::Failed { lines, .. } | Self::TimedOut { lines, .. } => lines,
            Self::NotRunnable { .. } | Self::Cancelled { .. } | Self::Io { .. } | Self::Unexpected { .. } => &[],
        }
    }

    /// Whether any of the last lines contains this text, whatever the case.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.to_ascii_lowercase().contains(&text.to_ascii_lowercase()))
    }
}

fn last_line(lines: &[String]) -> &str {
    lines.iter().rev().find(|line| !line.trim().is_empty()).map_or("it printed nothing", |line| line.trim())
}

impl Call {
    /// A call of a program, found on PATH unless it is a path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            environment: Vec::new(),
            inherited: None,
            redactor: Redactor::default(),
            directory: None,
            timeout: Duration::from_secs(60),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the program's environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets a variable whose value never appears in lines and errors.
    #[must_use]
    pub fn secret_env(mut self, name: impl AsRef<OsStr>, value: &SecretString) -> Self {
        self.redactor = self.redactor.with([value]);
        self.env(name, value.expose_secret())
    }

    /// Never shows this text in lines and errors.
    #[must_use]
    pub fn hide(mut self, secret: &SecretString) -> Self {
        self.redactor = self.redactor.with([secret]);
        self
    }

    /// Hands on only these variables of the server's environment, beside those that are set here; all without it.
    #[must_use]
    pub fn inherit_only(mut self, names: &'static [&'static str]) -> Self {
        self.inherited = Some(names);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets how long the program may run; a minute without it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs the program to its end. It dies with us: for calls that only look.
    ///
    /// # Errors
    /// [`ToolError`] says which program, how it ended and what it printed last.
    pub async fn run(&self, lines: &Lines, cancel: &CancellationToken) -> Result<Output, ToolError> {
        let mut command = self.command(&self.program, &self.args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| self.not_runnable(source))?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let read_all = async {
            tokio::join!(self.read_lines(stdout, lines, false), self.read_lines(stderr, lines, true), child.wait())
        };
        let ended = tokio::select! {
            ended = read_all => Some(ended),
            () = tokio::time::sleep(self.timeout) => None,
            () = cancel.cancelled() => {
                self.interrupt(&mut child).await;
                return Err(ToolError::Cancelled { program: self.name() });
            }
        };
        let Some((stdout, stderr, status)) = ended else {
            self.interrupt(&mut child).await;
            return Err(ToolError::TimedOut { program: self.name(), limit: self.timeout, lines: Vec::new() });
        };
        let output = Output { stdout: stdout.map_err(|e| self.io(e))?, stderr: stderr.map_err(|e| self.io(e))? };
        self.judge(status.map_err(|e| self.io(e))?, output)
    }

    /// The program and its first argument, as messages name a call.
    fn name(&self) -> String {
        let program = Path::new(&self.program).file_name().unwrap_or(&self.program).to_string_lossy();
        self.args.first().map_or_else(
            || program.clone().into_owned(),
            |first| {
                let first = first.to_string_lossy();
                if first.starts_with('-') { program.clone().into_owned() } else { format!("{program} {first}") }
            },
        )
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where programs are started")]
    fn command(&self, program: &OsStr, args: &[OsString]) -> Command {
        let mut command = Command::new(program);
        if let Some(names) = self.inherited {
            command.env_clear();
            command.envs(names.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        }
        command.args(args).envs(self.environment.iter().map(|(name, value)| (name, value))).process_group(0);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    fn not_runnable(&self, source: io::Error) -> ToolError {
        ToolError::NotRunnable { program: self.program.to_string_lossy().into_owned(), source }
    }

    fn io(&self, source: io::Error) -> ToolError {
        ToolError::Io { program: self.name(), source }
    }

    async fn read_lines(&self, pipe: impl AsyncRead + Unpin, lines: &Lines, pass_on: bool) -> io::Result<String> {
        let mut reader = BufReader::new(pipe);
        let (mut text, mut buffer) = (String::new(), Vec::new());
        while reader.read_until(b'\n', &mut buffer).await? > 0 {
            let line = String::from_utf8_lossy(&buffer);
            let line = self.redactor.redact(&line);
            if pass_on {
                lines.output(line.trim_end());
            }
            if text.len() + line.len() <= MAX_OUTPUT_BYTES {
                text.push_str(&line);
            }
            buffer.clear();
        }
        Ok(text)
    }

    /// Ends the program's process group: SIGINT, a grace period, SIGKILL.
    async fn interrupt(&self, child: &mut Child) {
        let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else { return };
        let _ = rustix::process::kill_process_group(group, Signal::INT);
        if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
            let _ = child.wait().await;
        }
    }

    fn judge(&self, status: ExitStatus, output: Output) -> Result<Output, ToolError> {
        if status.success() {
            return Ok(output);
        }
        let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
        Err(ToolError::Failed { program: self.name(), status: describe(status), lines: last_lines(said) })
    }
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|&line| line.to_owned()).collect()
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

/// Writes the word that lets a gated program begin.
async fn open_gate(child: &mut Child) -> io::Result<()> {
    let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("the gate has no input"))?;
    stdin.write_all(b"go\n").await?;
    stdin.shutdown().await
}
