//! Calls of external programs: one argument at a time, no shell text from outside, bounded, cancellable, redacted.
//!
//! A call that only looks ([`Call::run`]) ends with us. A call that changes the world ([`Call::run_durably`]) writes
//! to files that we follow, so that it outlives a killed server; its process is on record before it works, and
//! [`Place::settle`] waits for it at the next start. Where a program runs, here or over ssh, is its [`Place`].

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::secret::Redactor;
use crate::tool::place::Place;
use crate::tool::printed::{Kept, Splitter};

pub mod durable;
mod error;
pub mod folder;
pub mod git;
pub mod helm;
mod interrupt;
pub mod kind;
pub mod place;
mod printed;
pub mod ssh;
pub mod terraform;
mod there;

pub use crate::tool::error::ToolError;

/// How long a program may take to end after SIGINT, before SIGKILL.
const GRACE: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 10 });
/// How many of the last lines of output an error carries.
const LAST_LINES: usize = 20;
/// Standard output that is kept for parsing, at most; more is an error.
const MAX_OUTPUT_BYTES: usize = 8 * 1024 * 1024;
/// Standard error that is kept, at most: its end.
const MAX_ERROR_BYTES: usize = 1024 * 1024;
/// How long a program that has ended is still read: something that it left behind may hold its pipes open for ever.
const DRAIN: Duration = Duration::from_secs(2);

/// One external program, from argv to exit.
#[derive(Debug)]
pub struct Call {
    program: OsString,
    args: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    inherited: Option<&'static [&'static str]>,
    withheld: &'static [&'static str],
    redactor: Redactor,
    directory: Option<PathBuf>,
    timeout: Duration,
    grace: Duration,
    tells_on_stdout: bool,
    input: Option<Vec<u8>>,
    place: Place,
}

/// What a program printed before it ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output, redacted.
    pub stdout: String,
    /// The end of standard error, redacted.
    pub stderr: String,
}

impl Call {
    /// A call of a program, found on PATH unless it is a path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            environment: Vec::new(),
            inherited: None,
            withheld: &[],
            redactor: Redactor::default(),
            directory: None,
            timeout: Duration::from_mins(1),
            grace: GRACE,
            tells_on_stdout: false,
            input: None,
            place: Place::Here,
        }
    }

    /// Sets where the program runs; here without it.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// Sets what the program reads from its standard input; nothing without it. For programs here.
    #[must_use]
    fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
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

    /// Does not hand on these variables of the server's environment.
    #[must_use]
    pub fn withhold(mut self, names: &'static [&'static str]) -> Self {
        self.withheld = names;
        self
    }

    /// Sets how long the program may take to end after its one SIGINT, before SIGKILL; ten seconds without it.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Hands on the lines of standard output too while a durable call runs: the program tells there what it does.
    #[must_use]
    pub fn tell_stdout(mut self) -> Self {
        self.tells_on_stdout = true;
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
        let ended = match &self.place {
            Place::Here => self.look_here(lines, cancel).await?,
            Place::There(ssh) => self.look_there(ssh, lines, cancel).await?,
        };
        self.judge(ended.status, &ended.stdout, &ended.stderr)
    }

    /// Runs a program that changes the world: it goes on when this server is killed, or the connection to the other
    /// machine drops, and is then found by [`Place::settle`].
    ///
    /// `folder` is the step's own, on the machine where the program runs; `name` tells the calls of one step apart.
    ///
    /// # Errors
    /// [`ToolError`] says which program, how it ended and what it printed last.
    pub async fn run_durably(
        &self,
        folder: &Path,
        name: &str,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Output, ToolError> {
        if cancel.is_cancelled() {
            return Err(ToolError::Cancelled { program: self.name() });
        }
        match &self.place {
            Place::Here => self.work_here(folder, name, lines, cancel).await,
            Place::There(ssh) => self.work_there(ssh, folder, name, lines, cancel).await,
        }
    }

    async fn look_here(&self, lines: &Lines, cancel: &CancellationToken) -> Result<Ended, ToolError> {
        if cancel.is_cancelled() {
            return Err(ToolError::Cancelled { program: self.name() });
        }
        let mut child = self.spawn()?;
        let mut group = Group::of(&child);
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(self.io(io::Error::other("it has no pipes")));
        };
        let stdin = child.stdin.take();
        let (mut kept_stdout, mut kept_stderr) = (Kept::first(MAX_OUTPUT_BYTES), Kept::last(MAX_ERROR_BYTES));
        let ended = {
            let reading = async {
                tokio::try_join!(
                    self.feed(stdin),
                    self.read_lines(stdout, |line| kept_stdout.push(line)),
                    self.read_lines(stderr, |line| {
                        lines.output(line.trim_end());
                        kept_stderr.push(line);
                    })
                )
                .map(drop)
            };
            tokio::pin!(reading);
            let ending = async {
                tokio::select! {
                    status = child.wait() => (status, tokio::time::timeout(DRAIN, reading).await.unwrap_or(Ok(()))),
                    read = &mut reading => (child.wait().await, read),
                }
            };
            tokio::select! {
                ended = ending => Some(ended),
                () = tokio::time::sleep(self.timeout) => None,
                () = cancel.cancelled() => None,
            }
        };
        let Some((status, read)) = ended else {
            self.interrupt(&mut child).await;
            return Err(if cancel.is_cancelled() {
                ToolError::Cancelled { program: self.name() }
            } else {
                self.timed_out(&kept_stderr)
            });
        };
        group.release();
        let status = status.map_err(|e| self.io(e))?.into();
        read.map_err(|e| self.io(e))?;
        Ok(Ended { status, stdout: kept_stdout, stderr: kept_stderr })
    }

    /// Starts the program here with pipes; it dies when it is no longer held.
    fn spawn(&self) -> Result<Child, ToolError> {
        let mut command = self.command(&self.program, &self.args);
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().map_err(|source| self.not_runnable(source))
    }

    /// Writes the input; a program that does not read all of it is no error.
    async fn feed(&self, stdin: Option<ChildStdin>) -> io::Result<()> {
        let (Some(mut stdin), Some(input)) = (stdin, &self.input) else { return Ok(()) };
        match stdin.write_all(input).await {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
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
        if let Err(error) = interrupt::reset_for_programs() {
            tracing::warn!(%error, "a program may not hear when it is to stop");
        }
        let mut command = Command::new(program);
        if let Some(names) = self.inherited {
            command.env_clear();
            command.envs(names.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        }
        for name in self.withheld {
            command.env_remove(name);
        }
        command.args(args).envs(self.environment.iter().map(|(name, value)| (name, value))).process_group(0);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    fn not_runnable(&self, source: io::Error) -> ToolError {
        if self.directory.as_ref().is_some_and(|directory| !directory.is_dir()) {
            return self.io(source);
        }
        ToolError::NotRunnable { program: self.program.to_string_lossy().into_owned(), source }
    }

    fn io(&self, source: io::Error) -> ToolError {
        ToolError::Io { program: self.name(), source }
    }

    fn timed_out(&self, stderr: &Kept) -> ToolError {
        ToolError::TimedOut { program: self.name(), limit: self.timeout, lines: stderr.last_lines(LAST_LINES) }
    }

    /// Hands on every line, redacted.
    async fn read_lines(&self, mut pipe: impl AsyncRead + Unpin, mut take: impl FnMut(&str)) -> io::Result<()> {
        let mut take = |line: &str| take(&self.redactor.redact(line));
        let (mut splitter, mut buffer) = (Splitter::default(), vec![0; 16 * 1024]);
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
    async fn interrupt(&self, child: &mut Child) {
        let Some(group) = group_of(child) else { return };
        let _ = rustix::process::kill_process_group(group, Signal::INT);
        let _ = tokio::time::timeout(self.grace, child.wait()).await;
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = child.wait().await;
    }

    fn judge(&self, status: Status, stdout: &Kept, stderr: &Kept) -> Result<Output, ToolError> {
        if status != Status::Code(0) {
            let said = if stderr.text().trim().is_empty() { stdout } else { stderr };
            let lines = said.last_lines(LAST_LINES);
            return Err(ToolError::Failed { program: self.name(), status: status.to_string(), lines });
        }
        if stdout.is_cut() {
            let what = format!("more than {} MiB", MAX_OUTPUT_BYTES >> 20);
            return Err(ToolError::Unexpected { program: self.name(), what });
        }
        Ok(Output { stdout: stdout.text(), stderr: stderr.text() })
    }
}

/// How a program came to its end, and what it printed.
struct Ended {
    status: Status,
    stdout: Kept,
    stderr: Kept,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
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

/// The process group of a program that only looks: it is killed whole when nobody waits for it any more.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(group_of(child))
    }

    /// Lets what the program left behind live on.
    fn release(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// A program's group has the number of the program; `None` once it was waited for.
fn group_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// Writes the word that lets a gated program begin.
async fn open_gate(child: &mut Child) -> io::Result<()> {
    let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("the gate has no input"))?;
    stdin.write_all(b"go\n").await?;
    stdin.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use super::*;
    use crate::event::Line;

    fn shell(script: &str) -> Call {
        Call::new("sh").args(["-c", script])
    }

    async fn run(call: Call) -> Result<Output, ToolError> {
        call.run(&Lines::none(), &CancellationToken::new()).await
    }

    #[tokio::test]
    async fn lines_of_standard_error_come_in_order_to_the_last_unfinished_one() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = Lines::new({
            let said = Arc::clone(&said);
            move |line| said.lock().unwrap().push(line)
        });

        let call = shell("echo data; echo one >&2; printf two >&2");
        let output = call.run(&lines, &CancellationToken::new()).await.unwrap();

        assert_eq!(output, Output { stdout: "data\n".into(), stderr: "one\ntwo".into() });
        assert_eq!(*said.lock().unwrap(), [Line::Output("one".into()), Line::Output("two".into())]);
    }

    #[tokio::test]
    async fn an_error_carries_the_last_lines_of_a_program_that_prints_without_end() {
        let error = run(shell("yes filler | head -n 700000 >&2; echo the cause >&2; exit 3")).await.unwrap_err();

        assert_eq!(error.to_string(), "`sh` ended with exit code 3: the cause");
        assert_eq!(error.lines().len(), LAST_LINES);
        assert!(error.says("THE CAUSE") && !error.says("nothing of that"));
    }

    #[tokio::test]
    async fn output_that_is_too_long_to_be_parsed_is_an_error() {
        let error = run(shell("head -c 9000000 /dev/zero")).await.unwrap_err();

        assert_eq!(error.to_string(), "`sh` printed something unexpected: more than 8 MiB");
    }

    #[tokio::test]
    async fn a_program_or_a_directory_that_is_not_there_is_named_for_what_it_is() {
        let program = run(Call::new("no-such-program")).await.unwrap_err();
        let directory = run(shell("true").directory("/nowhere")).await.unwrap_err();

        assert_eq!(program.to_string(), "cannot run `no-such-program`; install it, or set its path");
        assert!(matches!(directory, ToolError::Io { .. }));
    }

    #[tokio::test]
    async fn a_time_out_ends_the_whole_group_and_keeps_the_last_lines() {
        let start = Instant::now();
        let call = shell("echo started >&2; sleep 60 & wait").timeout(Duration::from_millis(200));

        let error = run(call).await.unwrap_err();

        assert!(matches!(&error, ToolError::TimedOut { lines, .. } if lines == &["started"]), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_program_that_ignores_an_interrupt_is_killed_after_its_grace() {
        let cancel = CancellationToken::new();
        let call = shell("trap '' INT; echo ready >&2; while true; do sleep 1; done");

        let lines = Lines::new({
            let cancel = cancel.clone();
            move |_| cancel.cancel()
        });
        let error = call.run(&lines, &cancel).await;

        assert!(matches!(error, Err(ToolError::Cancelled { .. })));
    }

    #[tokio::test]
    async fn an_interrupted_program_hears_it() {
        let (cancel, folder) = (CancellationToken::new(), tempfile::tempdir().unwrap());
        let heard = folder.path().join("heard");
        let call = shell("trap 'touch \"$0\"; exit 1' INT; echo ready >&2; while true; do sleep 0.1; done").arg(&heard);

        let lines = Lines::new({
            let cancel = cancel.clone();
            move |_| cancel.cancel()
        });
        let error = call.run(&lines, &cancel).await;

        assert!(matches!(error, Err(ToolError::Cancelled { .. })));
        assert!(heard.exists());
    }

    #[tokio::test]
    async fn an_interrupted_program_hears_it_also_where_interrupts_are_ignored() {
        let tests = std::env::current_exe().unwrap();
        let call = shell("trap '' INT; exec \"$0\" --exact tool::tests::an_interrupted_program_hears_it").arg(tests);

        let output = run(call).await.unwrap();

        assert!(output.stdout.contains("1 passed"), "{output:?}");
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_does_not_hold_its_answer_up() {
        let start = Instant::now();

        let output = run(shell("sleep 30 & echo done")).await.unwrap();

        assert_eq!(output.stdout, "done\n");
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[tokio::test]
    async fn secrets_are_hidden_wherever_they_appear() {
        let (secret, other) = (SecretString::from("s3cr3t-t0ken"), SecretString::from("0ther-s3cr3t"));
        let call = shell("echo $TOKEN; echo 0ther-s3cr3t >&2").secret_env("TOKEN", &secret).hide(&other);

        let output = run(call).await.unwrap();

        assert!(!format!("{output:?}").contains("s3cr3t"), "{output:?}");
    }

    #[tokio::test]
    async fn only_the_named_part_of_the_environment_is_handed_on() {
        let output = run(shell("env").inherit_only(&["PATH"]).env("MINE", "1")).await.unwrap();

        assert!(output.stdout.contains("MINE=1") && output.stdout.contains("PATH="));
        assert!(!output.stdout.contains("CARGO"));
    }
}
