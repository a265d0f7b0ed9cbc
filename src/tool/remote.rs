//! Calls of programs on a machine that is reached by ssh.
//!
//! What goes over the wire is a fixed program with quoted words; the environment, which may hold secrets, goes through
//! its standard input. A program that changes the world is kept there by a shell of its own, with its output and its
//! status in files: the connection may drop and come back, it is started once.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::event::Lines;
use crate::tool::printed::{Kept, Splitter};
use crate::tool::ssh::{Ssh, SshError};
use crate::tool::{Call, Ended, GRACE, LAST_LINES, MAX_ERROR_BYTES, MAX_OUTPUT_BYTES, Output, Status, ToolError};

const INSPECT: &str = include_str!("remote/inspect.sh");
const START: &str = include_str!("remote/start.sh");
const SUPERVISE: &str = include_str!("remote/supervise.sh");
const FOLLOW: &str = include_str!("remote/follow.sh");
const REAP: &str = include_str!("remote/reap.sh");
const UPLOAD: &str = include_str!("remote/upload.sh");

/// How long a connection that broke may take to come back.
const RECONNECT_LIMIT: Duration = Duration::from_secs(90);
/// How often a fixed program is begun again after a broken connection.
const MAX_DROPS: usize = 5;
/// The pause before the first of these times; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long the other side may take for the fixed programs themselves, beside what they run.
const SLACK: Duration = Duration::from_secs(20);
/// How long a file may take to get there.
const UPLOAD_LIMIT: Duration = Duration::from_mins(5);
/// How often it is asked whether what was left behind still works.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// What [`FOLLOW`] says when a program is gone and left no status.
const GONE: i32 = 76;

/// A fixed program and what it is given.
struct Fixed<'a> {
    script: &'a str,
    words: Vec<String>,
    input: Vec<u8>,
    timeout: Duration,
}

impl Call {
    /// [`Call::run`] on another machine. A look that a broken connection took away is taken again.
    pub(super) async fn inspect_remotely(
        &self,
        ssh: &Ssh,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Ended, ToolError> {
        let mut words = vec![self.directory_there(), self.timeout.as_secs().max(1).to_string()];
        words.extend(self.words_there());
        let fixed = Fixed { script: INSPECT, words, input: self.environment_there(), timeout: self.timeout + SLACK };
        let ended = self.ask(ssh, &fixed, lines, cancel).await?;
        if ended.status == Status::Code(127) && ended.stderr.text().starts_with("there: ") {
            return Err(self.not_there(&ended.stderr));
        }
        Ok(ended)
    }

    /// [`Call::run_durably`] on another machine.
    pub(super) async fn supervise_remotely(
        &self,
        ssh: &Ssh,
        folder: &Path,
        name: &str,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Output, ToolError> {
        let run = Uuid::now_v7().simple().to_string();
        let here = format!("{}/{name}.{run}", folder.display());
        let mut words =
            vec![SUPERVISE.to_owned(), folder.display().to_string(), name.to_owned(), run, self.directory_there()];
        words.extend(self.words_there());
        let start = Fixed { script: START, words, input: self.environment_there(), timeout: SLACK };
        let deadline = Instant::now() + self.timeout;
        // It is not cancelled half way: what might have begun has to be interrupted.
        let started = self.ask(ssh, &start, &Lines::none(), &CancellationToken::new()).await?;
        self.judge(started.status, &started.stdout, &started.stderr)?;

        let mut printed = Printed::default();
        let status = loop {
            let followed = tokio::select! {
                followed = self.follow(ssh, &here, &mut printed, lines) => followed,
                () = tokio::time::sleep_until(deadline) => break None,
                () = cancel.cancelled() => break None,
            };
            match followed {
                Ok(status) => break Some(status),
                Err(ToolError::Ssh(error)) if error.is_transient() => {
                    let again = ssh.connect_again(RECONNECT_LIMIT, lines, cancel);
                    match tokio::time::timeout_at(deadline, again).await {
                        Ok(Ok(())) => (),
                        Err(_) | Ok(Err(SshError::Cancelled)) => break None,
                        Ok(Err(error)) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error),
            }
        };
        printed.finish(self, lines);
        let Some(status) = status else {
            // Out of reach it may go on; then the undo of its step finds it by its record.
            let _ = interrupt(ssh, folder, &format!("{name}.*")).await;
            return Err(if cancel.is_cancelled() {
                ToolError::Cancelled { program: self.name() }
            } else {
                self.timed_out(&printed.stderr.kept)
            });
        };
        if status == Status::Unknown {
            // Somebody killed what keeps it; what it started must not go on changing the world behind our back.
            interrupt(ssh, folder, &format!("{name}.*")).await?;
            return Err(ToolError::Vanished { program: self.name() });
        }
        let said = printed.stderr.kept.text();
        if matches!(status, Status::Code(126 | 127)) && said.starts_with("keeper: ") {
            return Err(self.not_there(&printed.stderr.kept));
        }
        self.judge(status, &printed.stdout.kept, &printed.stderr.kept)
    }

    /// Follows what the program prints to its end, from where the last connection stopped.
    async fn follow(&self, ssh: &Ssh, here: &str, printed: &mut Printed, lines: &Lines) -> Result<Status, ToolError> {
        let session = ssh.session().await?;
        let words = [here.to_owned(), printed.stdout.bytes.to_string(), printed.stderr.bytes.to_string()];
        let mut child = ssh.call_over(&session.connection, FOLLOW, "follow", words).input([]).spawn()?;
        // The other side stops following when this closes.
        let stdin = child.stdin.take();
        let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(self.io(std::io::Error::other("ssh has no pipes")));
        };
        let (mut first, mut second) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let (mut first_open, mut second_open) = (true, true);
        while first_open || second_open {
            tokio::select! {
                read = stdout.read(&mut first), if first_open => {
                    let count = read.map_err(|e| self.io(e))?;
                    first_open = count > 0;
                    printed.stdout.take(&first[..count], |line| self.redactor.redact(line).into_owned(), |_| ());
                }
                read = stderr.read(&mut second), if second_open => {
                    let count = read.map_err(|e| self.io(e))?;
                    second_open = count > 0;
                    let tell = |line: &str| lines.output(line.trim_end());
                    printed.stderr.take(&second[..count], |line| self.redactor.redact(line).into_owned(), tell);
                }
            }
        }
        let status: Status = child.wait().await.map_err(|e| self.io(e))?.into();
        drop((stdin, session));
        match status {
            Status::Code(0) => self.status_of(ssh, here).await,
            Status::Code(GONE) => Ok(Status::Unknown),
            Status::Code(_) | Status::Signal(_) | Status::Unknown => Err(ssh.dropped(&[]).into()),
        }
    }

    async fn status_of(&self, ssh: &Ssh, here: &str) -> Result<Status, ToolError> {
        let cancel = CancellationToken::new();
        let call = Call::new("cat").arg(format!("{here}/status"));
        let ended = call.inspect_remotely(ssh, &Lines::none(), &cancel).await?;
        Ok(ended.stdout.text().trim().parse().map_or(Status::Unknown, Status::Code))
    }

    /// Runs a fixed program to its end; after a broken connection again. One that just broke may look whole for a moment,
    /// so it is tried a few times.
    async fn ask(
        &self,
        ssh: &Ssh,
        fixed: &Fixed<'_>,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Ended, ToolError> {
        if cancel.is_cancelled() {
            return Err(ToolError::Cancelled { program: self.name() });
        }
        let mut pauses = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_times(MAX_DROPS).build();
        loop {
            match (self.ask_once(ssh, fixed, lines, cancel).await, pauses.next()) {
                (Err(ToolError::Ssh(SshError::Dropped { .. })), Some(pause)) => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => (),
                        () = cancel.cancelled() => return Err(ToolError::Cancelled { program: self.name() }),
                    }
                    match ssh.connect_again(RECONNECT_LIMIT, lines, cancel).await {
                        Err(SshError::Cancelled) => return Err(ToolError::Cancelled { program: self.name() }),
                        again => again?,
                    }
                }
                (ended, _) => return ended,
            }
        }
    }

    async fn ask_once(
        &self,
        ssh: &Ssh,
        fixed: &Fixed<'_>,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Ended, ToolError> {
        let session = ssh.session().await?;
        let mut call = ssh.call_over(&session.connection, fixed.script, "there", &fixed.words);
        call = call.input(fixed.input.clone()).timeout(fixed.timeout);
        call.redactor = self.redactor.clone();
        let ended = match call.inspect_locally(lines, cancel).await {
            Ok(ended) => ended,
            Err(ToolError::Cancelled { .. }) => return Err(ToolError::Cancelled { program: self.name() }),
            Err(ToolError::TimedOut { lines, .. }) => {
                return Err(ToolError::TimedOut { program: self.name(), limit: self.timeout, lines });
            }
            Err(error) => return Err(error),
        };
        // Also a program may end with 255; then the connection holds.
        if ended.status == Status::Code(255) {
            let lines = ended.stderr.last_lines(LAST_LINES);
            if lines.is_empty() || session.connection.is_over().await {
                return Err(ssh.dropped(&lines).into());
            }
        }
        Ok(ended)
    }

    fn not_there(&self, stderr: &Kept) -> ToolError {
        let said = stderr.text().trim().to_owned();
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, said);
        ToolError::NotRunnable { program: self.program.to_string_lossy().into_owned(), source }
    }

    fn directory_there(&self) -> String {
        self.directory.as_ref().map_or_else(|| ".".to_owned(), |directory| directory.display().to_string())
    }

    fn words_there(&self) -> impl Iterator<Item = String> {
        std::iter::once(&self.program).chain(&self.args).map(|word| word.to_string_lossy().into_owned())
    }

    /// The environment as a shell reads it, with an end that tells whether all of it came.
    fn environment_there(&self) -> Vec<u8> {
        let quoted = |value: &OsStr| format!("'{}'", value.to_string_lossy().replace('\'', r"'\''"));
        let lines = self.environment.iter().map(|(name, value)| (name.to_string_lossy(), quoted(value)));
        let text: String = lines.map(|(name, value)| format!("export {name}={value}\n")).collect();
        format!("{text}# whole\n").into_bytes()
    }
}

/// What a program has printed so far, over all connections.
#[derive(Debug)]
struct Printed {
    stdout: Stream,
    stderr: Stream,
}

#[derive(Debug)]
struct Stream {
    bytes: u64,
    splitter: Splitter,
    kept: Kept,
}

impl Default for Printed {
    fn default() -> Self {
        let stream = |kept| Stream { bytes: 0, splitter: Splitter::default(), kept };
        Self { stdout: stream(Kept::first(MAX_OUTPUT_BYTES)), stderr: stream(Kept::last(MAX_ERROR_BYTES)) }
    }
}

impl Printed {
    fn finish(&mut self, call: &Call, lines: &Lines) {
        let Self { stdout, stderr } = self;
        stdout.splitter.finish(|line| stdout.kept.push(&call.redactor.redact(line)));
        stderr.splitter.finish(|line| {
            let line = call.redactor.redact(line);
            lines.output(line.trim_end());
            stderr.kept.push(&line);
        });
    }
}

impl Stream {
    fn take(&mut self, bytes: &[u8], redact: impl Fn(&str) -> String, tell: impl Fn(&str)) {
        self.bytes += bytes.len() as u64;
        let kept = &mut self.kept;
        self.splitter.push(bytes, |line| {
            let line = redact(line);
            tell(&line);
            kept.push(&line);
        });
    }
}

/// Writes a file on the other machine.
pub(super) async fn put(ssh: &Ssh, path: &Path, contents: &[u8]) -> Result<(), ToolError> {
    let words = vec![path.display().to_string(), contents.len().to_string()];
    let fixed = Fixed { script: UPLOAD, words, input: contents.to_vec(), timeout: UPLOAD_LIMIT };
    let call = Call::new("put");
    let ended = call.ask(ssh, &fixed, &Lines::none(), &CancellationToken::new()).await?;
    call.judge(ended.status, &ended.stdout, &ended.stderr).map(drop)
}

/// Whether a call of this name was ever begun in this folder.
pub(super) async fn has_begun(ssh: &Ssh, folder: &Path, name: &str) -> Result<bool, ToolError> {
    let call = Call::new("find").arg(folder).args(["-maxdepth", "1", "-name", &format!("{name}.*")]);
    let ended = call.inspect_remotely(ssh, &Lines::none(), &CancellationToken::new()).await?;
    Ok(!ended.stdout.text().trim().is_empty())
}

/// Waits until no program that was left behind works in a folder; after `limit` it is interrupted.
pub(super) async fn await_orphans(
    ssh: &Ssh,
    folder: &Path,
    limit: Duration,
    lines: &Lines,
    cancel: &CancellationToken,
) -> Result<(), ToolError> {
    let start = Instant::now();
    while start.elapsed() < limit && !cancel.is_cancelled() {
        let left = left(ssh, folder, "*", None).await?;
        let Some(name) = left.lines().next() else { return Ok(()) };
        lines.progress(format!("waiting for `{name}`, which was under way, {} s", start.elapsed().as_secs()));
        tokio::time::sleep(LOOK_EVERY).await;
    }
    interrupt(ssh, folder, "*").await
}

/// Interrupts what works in a folder, and kills what is left after the grace period.
async fn interrupt(ssh: &Ssh, folder: &Path, pattern: &str) -> Result<(), ToolError> {
    left(ssh, folder, pattern, Some(GRACE)).await.map(drop)
}

async fn left(ssh: &Ssh, folder: &Path, pattern: &str, grace: Option<Duration>) -> Result<String, ToolError> {
    let mut words = vec![folder.display().to_string(), pattern.to_owned()];
    words.extend(grace.map(|grace| grace.as_secs().to_string()));
    let fixed = Fixed { script: REAP, words, input: Vec::new(), timeout: SLACK + grace.unwrap_or_default() };
    let call = Call::new("ps");
    let ended = call.ask(ssh, &fixed, &Lines::none(), &CancellationToken::new()).await?;
    call.judge(ended.status, &ended.stdout, &ended.stderr).map(|output| output.stdout)
}

#[cfg(test)]
mod tests;
