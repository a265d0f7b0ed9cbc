//! Child processes of the server: started in a group of their own, read line by line, bounded in time, killed with us.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::secret::Redactor;
use crate::tool::error::ToolError;
use crate::tool::interrupt;
use crate::tool::output::{BoundedLines, LineSplitter, Output};

/// How long a program may take to end after SIGINT, before SIGKILL.
pub(super) const GRACE: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 10 });
/// How many of the last lines of output an error carries.
pub(super) const LAST_LINES: usize = 20;
/// Standard output that is kept for parsing, at most; more is an error.
pub(super) const MAX_OUTPUT_BYTES: usize = 8 * 1024 * 1024;
/// Standard error that is kept, at most: its end.
pub(super) const MAX_ERROR_BYTES: usize = 1024 * 1024;
/// How long a program that has ended is still read: something that it left behind may hold its pipes open for ever.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What every program gets of the server's environment: how it finds programs, files, its language and the way out.
/// Whatever else is there, such as a secret that is meant for the server, stays here.
const COMMON: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_*",
    "TMPDIR",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Which variables of the server's environment a program gets besides those that all get. A name that ends with `*` stands
/// for every variable that begins so.
#[derive(Debug, Clone, Default)]
pub(super) struct InheritedEnv {
    /// These.
    pub(super) own: Vec<&'static str>,
    /// But not these.
    pub(super) withheld: Vec<&'static str>,
}

impl InheritedEnv {
    fn has(&self, name: &OsStr) -> bool {
        let is_in = |names: &[&str]| {
            names.iter().any(|it| match it.strip_suffix('*') {
                Some(beginning) => name.as_bytes().starts_with(beginning.as_bytes()),
                None => name == *it,
            })
        };
        (is_in(COMMON) || is_in(&self.own)) && !is_in(&self.withheld)
    }
}

/// How a child process is run to its end.
#[derive(Debug)]
pub(super) struct RunOptions<'a> {
    /// The program as errors name it.
    pub(super) name: &'a str,
    /// What it reads from its standard input; nothing without it.
    pub(super) input: Option<&'a [u8]>,
    /// What its lines must not show.
    pub(super) redactor: &'a Redactor,
    /// How long it may run.
    pub(super) timeout: Duration,
    /// How long it may take to end after SIGINT.
    pub(super) grace: Duration,
}

/// How a program came to its end, and what it printed.
#[derive(Debug)]
pub(super) struct RawOutput {
    pub(super) status: Status,
    pub(super) stdout: BoundedLines,
    pub(super) stderr: BoundedLines,
}

impl RawOutput {
    /// The output of a program that ended well. It is not one that we have ended: those errors are others.
    ///
    /// # Errors
    /// [`ToolError`] when it did not, or printed more than is kept.
    pub(super) fn check_exit(&self, name: &str) -> Result<Output, ToolError> {
        let Self { status, stdout, stderr } = self;
        if *status != Status::Code(0) {
            let printed = if stderr.text().trim().is_empty() { stdout } else { stderr };
            let (program, lines) = (name.to_owned(), printed.last_lines(LAST_LINES));
            return Err(if *status == Status::Signal(Signal::KILL.as_raw()) {
                ToolError::Killed { program, lines }
            } else {
                ToolError::Failed { program, status: status.to_string(), lines }
            });
        }
        if stdout.is_truncated() {
            let what = format!("more than {} MiB", MAX_OUTPUT_BYTES >> 20);
            return Err(ToolError::Unexpected { program: name.to_owned(), what });
        }
        Ok(Output { stdout: stdout.text(), stderr: stderr.text() })
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Code(i32),
    Signal(i32),
    Unknown,
}

impl From<ExitStatus> for Status {
    fn from(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("an unknown status"),
        }
    }
}

/// A command that leads a process group of its own, has pipes for its output, and is killed when nobody holds it. Its
/// environment has what it inherits and nothing else.
#[expect(clippy::disallowed_methods, reason = "the one place where programs are started")]
pub(super) fn command(program: impl AsRef<OsStr>, inherited: &InheritedEnv) -> Command {
    if let Err(error) = interrupt::reset_for_programs() {
        tracing::warn!(%error, "a program may not hear when it is to stop");
    }
    let mut command = Command::new(program);
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| inherited.has(name)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    command
}

/// Starts a command.
///
/// # Errors
/// [`ToolError`] when its program or its directory is not there.
pub(super) fn spawn(mut command: Command, name: &str) -> Result<Child, ToolError> {
    command.spawn().map_err(|source| {
        let command = command.as_std();
        if command.get_current_dir().is_some_and(|directory| !directory.is_dir()) {
            return io_error(name, source);
        }
        ToolError::NotRunnable { program: command.get_program().to_string_lossy().into_owned(), source }
    })
}

/// Runs a command to its end and hands on its lines of standard error.
///
/// # Errors
/// [`ToolError`] when it cannot be started or read, takes too long, or is cancelled; how it ended is for the caller to judge.
pub(super) async fn run(
    mut command: Command,
    options: &RunOptions<'_>,
    lines: &Lines,
    cancel: &CancellationToken,
) -> Result<RawOutput, ToolError> {
    let name = options.name;
    if cancel.is_cancelled() {
        return Err(ToolError::Cancelled { program: name.to_owned() });
    }
    if options.input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = spawn(command, name)?;
    let mut group = ProcessGroup::of(&child);
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(no_pipes(name));
    };
    let stdin = child.stdin.take();
    let mut kept_stdout = BoundedLines::keep_first(MAX_OUTPUT_BYTES);
    let mut kept_stderr = BoundedLines::keep_last(MAX_ERROR_BYTES);
    let ended = {
        let reading = async {
            tokio::try_join!(
                write_stdin(stdin, options.input),
                read_lines(stdout, options.redactor, |line| kept_stdout.push(line)),
                read_lines(stderr, options.redactor, |line| {
                    lines.output(line.trim_end());
                    kept_stderr.push(line);
                })
            )
            .map(drop)
        };
        tokio::pin!(reading);
        let ending = async {
            tokio::select! {
                status = child.wait() => (status, tokio::time::timeout(DRAIN_TIMEOUT, reading).await.unwrap_or(Ok(()))),
                read = &mut reading => (child.wait().await, read),
            }
        };
        tokio::select! {
            ended = ending => Some(ended),
            () = tokio::time::sleep(options.timeout) => None,
            () = cancel.cancelled() => None,
        }
    };
    let Some((status, read)) = ended else {
        interrupt(&mut child, options.grace).await;
        return Err(if cancel.is_cancelled() {
            ToolError::Cancelled { program: name.to_owned() }
        } else {
            let lines = kept_stderr.last_lines(LAST_LINES);
            ToolError::TimedOut { program: name.to_owned(), limit: options.timeout, lines }
        });
    };
    group.release();
    let status = status.map_err(|source| io_error(name, source))?.into();
    read.map_err(|source| io_error(name, source))?;
    Ok(RawOutput { status, stdout: kept_stdout, stderr: kept_stderr })
}

pub(super) fn io_error(name: &str, source: io::Error) -> ToolError {
    ToolError::Io { program: name.to_owned(), source }
}

pub(super) fn no_pipes(name: &str) -> ToolError {
    io_error(name, io::Error::other("it has no pipes"))
}

/// Writes the input; a program that does not read all of it is no error.
async fn write_stdin(stdin: Option<ChildStdin>, input: Option<&[u8]>) -> io::Result<()> {
    let (Some(mut stdin), Some(input)) = (stdin, input) else { return Ok(()) };
    match stdin.write_all(input).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Hands on every line, redacted.
async fn read_lines(
    mut pipe: impl AsyncRead + Unpin,
    redactor: &Redactor,
    mut take: impl FnMut(&str),
) -> io::Result<()> {
    let mut take = |line: &str| take(&redactor.redact(line));
    let (mut splitter, mut buffer) = (LineSplitter::default(), vec![0; 16 * 1024]);
    loop {
        match pipe.read(&mut buffer).await? {
            0 => {
                splitter.finish(&mut take);
                return Ok(());
            }
            count => splitter.push(&buffer[..count], &mut take),
        }
    }
}

/// Ends the program's process group: SIGINT, a grace period, SIGKILL for what is left.
async fn interrupt(child: &mut Child, grace: Duration) {
    let Some(group) = group_of(child) else { return };
    let _ = rustix::process::kill_process_group(group, Signal::INT);
    let _ = tokio::time::timeout(grace, child.wait()).await;
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
}

/// A process group that is killed whole when nobody waits for its leader any more.
pub(super) struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    pub(super) fn of(leader: &Child) -> Self {
        Self(group_of(leader))
    }

    /// Lets what the leader left behind live on.
    pub(super) fn release(&mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// A group has the number of its leader; `None` once the leader was waited for.
fn group_of(leader: &Child) -> Option<Pid> {
    leader.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_inherits_what_all_get_and_its_own_but_what_is_withheld() {
        let inherited = InheritedEnv { own: vec!["TF_*", "XDG_*"], withheld: vec!["TF_VAR_*", "TF_WORKSPACE"] };
        let names = |names: &[&'static str], inherited: &InheritedEnv| -> Vec<&str> {
            names.iter().copied().filter(|it| inherited.has(OsStr::new(it))).collect()
        };

        let has =
            names(&["PATH", "LC_ALL", "TF_PLUGIN", "TF_VAR_x", "TF_WORKSPACE", "TF_WORKSPACES", "XDG"], &inherited);
        let others =
            names(&["HOME", "LC", "PATHS", "TF_PLUGIN", "LLM_API_KEY", "DATABASE_URL"], &InheritedEnv::default());

        assert_eq!(has, ["PATH", "LC_ALL", "TF_PLUGIN", "TF_WORKSPACES"]);
        assert_eq!(others, ["HOME"]);
    }
}
