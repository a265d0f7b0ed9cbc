//! Programs that outlive the server and the connection.
//!
//! A shell of its own supervises each of them, here as on a machine that is reached by ssh: it keeps the program's output,
//! its process and its status in files (see `script/start.sh`). The server follows the files; a connection that broke is made
//! again and the output goes on where it stopped. The program is started once.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::event::Lines;
use crate::secret::Redactor;
use crate::store::calls::BegunCall;
use crate::tool::call::Call;
use crate::tool::connection::Connection;
use crate::tool::error::ToolError;
use crate::tool::output::{BoundedLines, LineSplitter, Output};
use crate::tool::process::{
    self, LAST_LINES, MAX_ERROR_BYTES, MAX_OUTPUT_BYTES, ProcessGroup, RawOutput, Status, io_error, no_pipes,
};
use crate::tool::script::{RECONNECT_TIMEOUT, Script};
use crate::tool::step_calls::{StepCalls, boot_id};

const START: &str = include_str!("script/start.sh");
const SUPERVISE: &str = concat!(include_str!("script/processes.sh"), include_str!("script/supervise.sh"));
const REQUIREMENTS: &str = include_str!("script/requirements.sh");
const FOLLOW: &str = include_str!("script/follow.sh");

/// What [`FOLLOW`] ends with when the program's status is another one than 0.
const EXIT_OTHER_STATUS: i32 = 77;
/// What [`FOLLOW`] ends with when the supervisor is gone and left no status.
const EXIT_NO_STATUS: i32 = 76;
/// The pause before a run is followed again.
const PAUSE: Duration = Duration::from_millis(100);
/// How often in a row following may end early though the connection is whole.
const MAX_FAILURES: u32 = 20;
/// How long reading what a program printed last may take, when it was interrupted.
const LAST_OUTPUT_TIMEOUT: Duration = Duration::from_secs(5);

/// What this machine lacks of what the scripts use, as commands that do not work; `None` when it has everything.
pub async fn missing_requirements() -> Option<String> {
    let script = Script::new("requirements", REQUIREMENTS);
    match Connection::Local.run_script(&script, &Lines::none(), &CancellationToken::new()).await {
        Ok(RawOutput { status: Status::Code(0), .. }) => None,
        Ok(output) => Some(output.stdout.text().trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

impl Call {
    /// Runs a program that changes the world: it goes on when this server is killed or the connection to the other machine
    /// breaks, and is then found by [`Connection::await_orphans`].
    ///
    /// `calls` are the step's own, with a folder on the machine where the program runs; `name` tells them apart.
    ///
    /// # Errors
    /// [`ToolError`] says which program, how it ended and what it printed last.
    #[tracing::instrument(level = "debug", skip_all, fields(call = self.name()))]
    pub async fn run_durably(
        &self,
        calls: &StepCalls,
        name: &str,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Output, ToolError> {
        if cancel.is_cancelled() {
            return Err(ToolError::Cancelled { program: self.name() });
        }
        let run = self.start(calls, name).await?;
        let deadline = Instant::now() + self.timeout;
        let mut output = FollowedOutput::new(self, lines);
        let status = tokio::select! {
            status = self.follow_to_end(&run.folder, &mut output) => Some(status?),
            () = tokio::time::sleep_until(deadline) => None,
            () = cancel.cancelled() => None,
        };
        if matches!(status, Some(Status::Code(_) | Status::Signal(_))) {
            calls.end(&run.id).await;
        } else if status.is_none() {
            // Out of reach it may go on; then the undo of its step finds it by its record.
            if self.connection.interrupt(&run.folder, &run.record, self.grace).await.is_ok() {
                let rest = self.follow(&run.folder, &mut output);
                let _ = tokio::time::timeout(LAST_OUTPUT_TIMEOUT, rest).await;
            }
        }
        let (stdout, stderr) = output.finish();
        let Some(status) = status else {
            let program = self.name();
            return Err(if cancel.is_cancelled() {
                ToolError::Cancelled { program }
            } else {
                ToolError::TimedOut { program, limit: self.timeout, lines: stderr.last_lines(LAST_LINES) }
            });
        };
        if status == Status::Unknown {
            // What it started must not go on changing the world behind our back.
            self.connection.interrupt(&run.folder, &run.record, self.grace).await?;
            return Err(ToolError::Vanished { program: self.name() });
        }
        self.check_started(status, &stderr, "supervise: ")?;
        RawOutput { status, stdout, stderr }.check_exit(&self.name())
    }

    /// Starts the program. Nothing cancels it half way: what might have begun has to be interrupted.
    async fn start(&self, calls: &StepCalls, name: &str) -> Result<Run, ToolError> {
        let folder = match self.connection {
            Connection::Local => std::path::absolute(&calls.folder).map_err(|source| io_error(&self.name(), source))?,
            Connection::Ssh(_) => calls.folder.clone(),
        };
        let id = Uuid::now_v7().simple().to_string();
        let run = folder.join(format!("{name}.{id}"));
        let (grace_s, timeout_s) = (self.grace.as_secs(), self.timeout.as_millis().div_ceil(1000));
        let call = BegunCall {
            run: id.clone(),
            name: name.to_owned(),
            boot: if self.connection.is_local() { boot_id() } else { None },
            process: None,
            grace_s: i64::try_from(grace_s).unwrap_or(i64::MAX),
            timeout_s: i64::try_from(timeout_s).unwrap_or(i64::MAX),
            has_ended: false,
        };
        calls.begin(&call).await?;
        let (grace_s, timeout_s) = (grace_s.to_string(), timeout_s.to_string());
        let id = OsString::from(id);
        let mut words = vec![SUPERVISE.into(), folder.into(), name.into(), id, grace_s.into(), timeout_s.into()];
        words.push(self.directory_word());
        words.extend(self.program_words());
        let script = self.script("start", START, words);
        let started = self.connection.run_script(&script, &Lines::none(), &CancellationToken::new()).await?;
        let record = started.check_exit(&self.name())?.stdout.trim().to_owned();
        if let Err(error) = calls.set_process(&call.run, &record).await {
            // It runs, and is found by its folder or its id.
            tracing::warn!(error = &error as &dyn std::error::Error, "the process of a call is not in the store");
        }
        Ok(Run { id: call.run, folder: run, record })
    }

    /// Follows what the program prints to its end, over as many connections as it takes.
    async fn follow_to_end(&self, run: &Path, output: &mut FollowedOutput<'_>) -> Result<Status, ToolError> {
        let mut failures = 0;
        loop {
            let before = output.bytes();
            match self.follow(run, output).await {
                Ok(Followed::ToEnd(status)) => return Ok(status),
                Ok(Followed::UntilDisconnected) => (),
                Ok(Followed::UntilFailure(status)) => {
                    failures = if output.bytes() == before { failures + 1 } else { 1 };
                    if failures >= MAX_FAILURES {
                        return Err(self.not_followed(run, status).await);
                    }
                }
                Err(ToolError::Ssh(error)) if error.is_transient() => (),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(PAUSE).await;
            if let Connection::Ssh(ssh) = &self.connection {
                ssh.reconnect(RECONNECT_TIMEOUT, output.lines, &CancellationToken::new()).await?;
            }
        }
    }

    /// The error of a program that goes on and cannot be followed. The next attempt or undo of its step waits for it.
    async fn not_followed(&self, run: &Path, status: Status) -> ToolError {
        let printed = self.connection.read(&run.join("follower")).await.ok().flatten().unwrap_or_default();
        let printed = if printed.trim().is_empty() { "it printed nothing" } else { printed.trim() };
        let reason = format!("what reads them ended {MAX_FAILURES} times, at last with {status}: {printed}");
        io_error(&self.name(), io::Error::other(reason))
    }

    /// Follows what the program prints, from where it was followed last.
    async fn follow(&self, run: &Path, output: &mut FollowedOutput<'_>) -> Result<Followed, ToolError> {
        let words = vec![run.into(), output.stdout.bytes.to_string().into(), output.stderr.bytes.to_string().into()];
        let script = Script { words, program: self.name(), ..Script::new("follow", FOLLOW) };
        let (mut command, session) = self.connection.script_command(&script).await?;
        command.stdin(Stdio::piped());
        let mut child = process::spawn(command, &script.program)?;
        let mut group = ProcessGroup::of(&child);
        output.read(&mut child, &script.program).await?;
        let status = child.wait().await.map_err(|source| io_error(&script.program, source))?.into();
        group.release();
        drop(session);
        match status {
            Status::Code(0) => Ok(Followed::ToEnd(status)),
            Status::Code(EXIT_OTHER_STATUS) => self.status_of(run).await.map(Followed::ToEnd),
            Status::Code(EXIT_NO_STATUS) => Ok(Followed::ToEnd(Status::Unknown)),
            Status::Code(255) if !self.connection.is_local() => Ok(Followed::UntilDisconnected),
            Status::Code(_) | Status::Signal(_) | Status::Unknown => Ok(Followed::UntilFailure(status)),
        }
    }

    /// The program's status as a shell tells it: above 128 a signal has ended it.
    async fn status_of(&self, run: &Path) -> Result<Status, ToolError> {
        let text = self.connection.read(&run.join("status")).await?.unwrap_or_default();
        Ok(match text.trim().parse() {
            Ok(code @ 129..=192) => Status::Signal(code - 128),
            Ok(code) => Status::Code(code),
            Err(_) => Status::Unknown,
        })
    }
}

/// A program that was started.
struct Run {
    /// What no other run is called.
    id: String,
    folder: PathBuf,
    /// Number and start time of its supervisor, as they are in the folder.
    record: String,
}

/// How far following came.
enum Followed {
    /// To the program's end; [`Status::Unknown`] when it left no status.
    ToEnd(Status),
    /// Ssh has lost the connection.
    UntilDisconnected,
    /// The script failed.
    UntilFailure(Status),
}

/// What a program has printed so far, over all connections.
struct FollowedOutput<'a> {
    stdout: OutputStream<'a>,
    stderr: OutputStream<'a>,
    lines: &'a Lines,
}

struct OutputStream<'a> {
    bytes: u64,
    splitter: LineSplitter,
    kept: BoundedLines,
    redactor: &'a Redactor,
    /// Where its lines are handed on while the program runs.
    lines: Option<&'a Lines>,
}

impl<'a> FollowedOutput<'a> {
    fn new(call: &'a Call, lines: &'a Lines) -> Self {
        let stream = |kept, lines| OutputStream {
            bytes: 0,
            splitter: LineSplitter::default(),
            kept,
            redactor: &call.redactor,
            lines,
        };
        Self {
            stdout: stream(BoundedLines::keep_first(MAX_OUTPUT_BYTES), call.streams_stdout.then_some(lines)),
            stderr: stream(BoundedLines::keep_last(MAX_ERROR_BYTES), Some(lines)),
            lines,
        }
    }

    fn bytes(&self) -> u64 {
        self.stdout.bytes + self.stderr.bytes
    }

    /// Reads what a follower prints to its end.
    async fn read(&mut self, follower: &mut Child, program: &str) -> Result<(), ToolError> {
        // The follower ends when this closes.
        let _stdin = follower.stdin.take();
        let (Some(mut stdout), Some(mut stderr)) = (follower.stdout.take(), follower.stderr.take()) else {
            return Err(no_pipes(program));
        };
        let (mut first, mut second) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let (mut first_open, mut second_open) = (true, true);
        while first_open || second_open {
            tokio::select! {
                read = stdout.read(&mut first), if first_open => {
                    let count = read.map_err(|source| io_error(program, source))?;
                    first_open = count > 0;
                    self.stdout.take(&first[..count]);
                }
                read = stderr.read(&mut second), if second_open => {
                    let count = read.map_err(|source| io_error(program, source))?;
                    second_open = count > 0;
                    self.stderr.take(&second[..count]);
                }
            }
        }
        Ok(())
    }

    /// What was kept of standard output and standard error, after their last unfinished lines.
    fn finish(self) -> (BoundedLines, BoundedLines) {
        (self.stdout.finish(), self.stderr.finish())
    }
}

impl OutputStream<'_> {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let Self { splitter, kept, redactor, lines, .. } = self;
        splitter.push(bytes, |line| keep(line, kept, redactor, *lines));
    }

    fn finish(mut self) -> BoundedLines {
        let Self { splitter, kept, redactor, lines, .. } = &mut self;
        splitter.finish(|line| keep(line, kept, redactor, *lines));
        self.kept
    }
}

fn keep(line: &str, kept: &mut BoundedLines, redactor: &Redactor, lines: Option<&Lines>) {
    let line = redactor.redact(line);
    if let Some(lines) = lines {
        lines.output(line.trim_end());
    }
    kept.push(&line);
}

#[cfg(test)]
mod tests;
