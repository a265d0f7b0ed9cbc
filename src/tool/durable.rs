//! Calls that outlive a killed server: output in files, the process on record before it works.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::tool::printed::{Kept, Splitter};
use crate::tool::{Call, GRACE, MAX_ERROR_BYTES, MAX_OUTPUT_BYTES, Output, ToolError, open_gate};

/// How often the output files and left-over processes are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What is on record of a running program. Process ids are used again: the start time tells two apart.
#[derive(Debug, Serialize, Deserialize)]
struct Process {
    pid: i32,
    /// Clock ticks after boot (proc(5), `/proc/<pid>/stat`, field 22).
    started: u64,
    /// How long it may take to end after its one SIGINT.
    #[serde(default = "usual_grace_s")]
    grace_s: u64,
    /// It was told to stop: a second SIGINT would make it leave everything as it is.
    #[serde(default)]
    interrupted: bool,
}

fn usual_grace_s() -> u64 {
    GRACE.as_secs()
}

impl Process {
    fn of(pid: i32, grace: Duration) -> Option<Self> {
        Some(Self { pid, started: Stat::of(pid)?.started, grace_s: grace.as_secs(), interrupted: false })
    }

    fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_s)
    }

    /// Whether the program works, or one that it started: kind may be killed while its `docker run` goes on.
    fn is_running(&self) -> bool {
        match Stat::of(self.pid) {
            Some(stat) if stat.is_alive => stat.started == self.started,
            Some(_) | None => group_is_alive(self.pid),
        }
    }
}

/// What the system tells of a process.
struct Stat {
    is_alive: bool,
    group: i32,
    started: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in brackets and may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let is_alive = !matches!(*fields.first()?, "Z" | "X");
        Some(Self { is_alive, group: fields.get(2)?.parse().ok()?, started: fields.get(19)?.parse().ok()? })
    }
}

/// Whether a process of this group works. Its number is not used again for a process before the group is gone.
fn group_is_alive(group: i32) -> bool {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.any(|pid| Stat::of(pid).is_some_and(|stat| stat.is_alive && stat.group == group))
}

impl Call {
    /// [`Call::run_durably`] on this machine.
    pub(super) async fn supervise_locally(
        &self,
        folder: &Path,
        name: &str,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Output, ToolError> {
        let io = |source| self.io(source);
        super::folder::make_private(folder).map_err(io)?;
        let record = folder.join(format!("{name}.pid"));
        let (stdout, stdout_path) = fresh_file(folder, &format!("{name}.out")).map_err(io)?;
        let (stderr, stderr_path) = fresh_file(folder, &format!("{name}.err")).map_err(io)?;

        // The shell waits for a word before it becomes the program: had we died before the process was on record,
        // its input would end and nothing would run. The text is fixed; the program and its arguments are words.
        let mut args: Vec<OsString> = vec!["-c".into(), "read -r go && exec \"$@\" </dev/null".into(), "gate".into()];
        args.push(self.program.clone());
        args.extend(self.args.iter().cloned());
        let mut command = self.command("/bin/sh".as_ref(), &args);
        command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr).kill_on_drop(false);
        let mut child = command.spawn().map_err(|source| self.not_runnable(source))?;
        let process = child.id().and_then(|id| i32::try_from(id).ok()).and_then(|pid| Process::of(pid, self.grace));
        let mut process = process.ok_or_else(|| io(io::Error::other("it ended before it began")))?;
        write_record(&record, &process).map_err(io)?;
        open_gate(&mut child).await.map_err(io)?;

        let mut followed = Followed::open(&stderr_path).map_err(io)?;
        let mut told = Followed::open(&stdout_path).map_err(io)?;
        let mut kept_stderr = Kept::last(MAX_ERROR_BYTES);
        let mut take = |line: &str| {
            let line = self.redactor.redact(line);
            lines.output(line.trim_end());
            kept_stderr.push(&line);
        };
        let tell = |line: &str| lines.output(self.redactor.redact(line).trim_end());
        let deadline = tokio::time::Instant::now() + self.timeout;
        let status = loop {
            tokio::select! {
                status = child.wait() => break Some(status.map_err(io)?),
                () = tokio::time::sleep(LOOK) => {
                    followed.pass_on(&mut take).map_err(io)?;
                    if self.tells_on_stdout {
                        told.pass_on(tell).map_err(io)?;
                    }
                }
                () = tokio::time::sleep_until(deadline) => break None,
                () = cancel.cancelled() => break None,
            }
        };
        if status.is_none() {
            process.interrupted = true;
            write_record(&record, &process).map_err(io)?;
            self.interrupt(&mut child).await;
        }
        let _ = std::fs::remove_file(&record);
        followed.finish(&mut take).map_err(io)?;
        if self.tells_on_stdout {
            told.finish(tell).map_err(io)?;
        }
        if status.is_some_and(|status| status.code().is_none()) {
            // Somebody killed the program alone; what it started must not go on changing the world behind our back.
            end_group(&process, self.grace).await;
        }
        let Some(status) = status else {
            return Err(if cancel.is_cancelled() {
                ToolError::Cancelled { program: self.name() }
            } else {
                self.timed_out(&kept_stderr)
            });
        };
        // The shell that could not become the program speaks in its own name; a program may end with 127 too.
        let said = kept_stderr.text();
        if matches!(status.code(), Some(126 | 127)) && said.starts_with("gate: ") {
            return Err(self.not_runnable(io::Error::new(io::ErrorKind::NotFound, said.trim().to_owned())));
        }
        let mut kept_stdout = Kept::first(MAX_OUTPUT_BYTES);
        let take = |line: &str| kept_stdout.push(&self.redactor.redact(line));
        Followed::open(&stdout_path).and_then(|mut file| file.finish(take)).map_err(io)?;
        self.judge(status.into(), &kept_stdout, &kept_stderr)
    }
}

/// Whether a call of this name was ever begun with this folder, by this server or an earlier one.
pub(super) fn has_begun(folder: &Path, name: &str) -> bool {
    folder.join(format!("{name}.out")).exists()
}

/// [`Connection::await_orphans`](super::connection::Connection::await_orphans) on this machine.
pub(super) async fn await_orphans(
    folder: &Path,
    limit: Duration,
    lines: &Lines,
    cancel: &CancellationToken,
) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "pid") {
            continue;
        }
        let left = std::fs::read(&path)?;
        if let Ok(process) = serde_json::from_slice::<Process>(&left) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            wait_for(process, &path, &name, limit, lines, cancel).await?;
        }
        std::fs::remove_file(&path)?;
    }
    Ok(())
}

async fn wait_for(
    mut process: Process,
    record: &Path,
    name: &str,
    limit: Duration,
    lines: &Lines,
    cancel: &CancellationToken,
) -> io::Result<()> {
    let start = tokio::time::Instant::now();
    let mut shown_s = None;
    while process.is_running() && start.elapsed() < limit && !cancel.is_cancelled() {
        let waited_s = start.elapsed().as_secs();
        if shown_s.replace(waited_s) != Some(waited_s) {
            lines.progress(format!("waiting for `{name}`, which was under way, {waited_s} s"));
        }
        tokio::time::sleep(LOOK).await;
    }
    if let Some(group) = Pid::from_raw(process.pid).filter(|_| process.is_running()) {
        if !process.interrupted {
            process.interrupted = true;
            write_record(record, &process)?;
            let _ = rustix::process::kill_process_group(group, Signal::INT);
        }
        end_group(&process, process.grace()).await;
    }
    Ok(())
}

/// Lets the processes of a group end within a grace period, then kills them.
async fn end_group(process: &Process, grace: Duration) {
    let start = tokio::time::Instant::now();
    while process.is_running() && start.elapsed() < grace {
        tokio::time::sleep(LOOK).await;
    }
    if let Some(group) = Pid::from_raw(process.pid).filter(|_| process.is_running()) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

fn fresh_file(folder: &Path, name: &str) -> io::Result<(Stdio, PathBuf)> {
    let path = folder.join(name);
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
    Ok((file.into(), path))
}

/// Writes the record whole or not at all, and makes sure that it is on disk before the program works.
fn write_record(path: &Path, process: &Process) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
    serde_json::to_writer(&file, process)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

/// A file that a program writes, read line by line as it grows.
struct Followed {
    file: File,
    splitter: Splitter,
}

impl Followed {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, splitter: Splitter::default() })
    }

    /// Hands on the lines that are complete.
    fn pass_on(&mut self, mut take: impl FnMut(&str)) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(()),
                count => self.splitter.push(&buffer[..count], &mut take),
            }
        }
    }

    /// Hands on all that is left.
    fn finish(&mut self, mut take: impl FnMut(&str)) -> io::Result<()> {
        self.pass_on(&mut take)?;
        self.splitter.finish(take);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use secrecy::SecretString;
    use tempfile::TempDir;

    use super::*;
    use crate::event::Line;

    /// The folder of a step, and what its calls said.
    struct World {
        folder: TempDir,
        said: Arc<Mutex<Vec<Line>>>,
        cancel: CancellationToken,
    }

    impl World {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), said: Arc::default(), cancel: CancellationToken::new() }
        }

        fn lines(&self) -> Lines {
            let said = Arc::clone(&self.said);
            Lines::new(move |line| said.lock().unwrap().push(line))
        }

        fn outputs(&self) -> Vec<String> {
            let said = self.said.lock().unwrap();
            said.iter()
                .filter_map(|line| if let Line::Output(text) = line { Some(text.clone()) } else { None })
                .collect()
        }

        async fn run(&self, call: Call) -> Result<Output, ToolError> {
            call.run_durably(self.folder.path(), "call", &self.lines(), &self.cancel).await
        }

        async fn await_orphans(&self, limit: Duration) {
            await_orphans(self.folder.path(), limit, &self.lines(), &self.cancel).await.unwrap();
        }

        fn file(&self, name: &str) -> String {
            std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
        }

        async fn until(&self, what: impl Fn(&Self) -> bool) {
            let waiting = async {
                while !what(self) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
        }

        fn process(&self) -> Option<Process> {
            serde_json::from_str(&self.file("call.pid")).ok()
        }
    }

    fn shell(script: &str) -> Call {
        Call::new("sh").args(["-c", script])
    }

    #[tokio::test]
    async fn output_comes_in_order_to_its_last_unfinished_line() {
        let world = World::new();

        let output = world.run(shell("echo data; echo one >&2; echo two >&2; printf three >&2")).await.unwrap();

        assert_eq!(output, Output { stdout: "data\n".into(), stderr: "one\ntwo\nthree".into() });
        assert_eq!(world.outputs(), ["one", "two", "three"]);
        assert_eq!(world.file("call.pid"), "");
    }

    #[tokio::test]
    async fn arguments_are_words_and_stdin_is_empty() {
        let world = World::new();

        let output = world.run(Call::new("printf").args(["%s|", "a b", "$(id)", "-n"])).await.unwrap();
        let input = world.run(Call::new("cat")).await.unwrap();

        assert_eq!((output.stdout.as_str(), input.stdout.as_str()), ("a b|$(id)|-n|", ""));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_told_from_one_that_ends_with_127() {
        let world = World::new();

        let missing = world.run(Call::new("/nowhere/program")).await.unwrap_err();
        let failed = world.run(shell("echo no >&2; exit 127")).await.unwrap_err();

        assert!(matches!(missing, ToolError::NotRunnable { .. }));
        assert_eq!(failed.to_string(), "`sh` ended with exit code 127: no");
    }

    #[tokio::test]
    async fn a_secret_is_in_no_line_and_no_error() {
        let world = World::new();
        let call = shell("echo \"the token is $TOKEN\" >&2; exit 1");

        let error = world.run(call.secret_env("TOKEN", &SecretString::from("s3cr3t-t0ken"))).await.unwrap_err();

        assert!(!format!("{error}{error:?}{:?}", world.outputs()).contains("s3cr3t"));
    }

    #[tokio::test]
    async fn a_time_out_ends_the_whole_group_and_keeps_the_last_lines() {
        let world = World::new();
        let call = shell("echo started >&2; sleep 60 & wait").timeout(Duration::from_millis(300));

        let error = world.run(call).await.unwrap_err();

        assert!(matches!(&error, ToolError::TimedOut { lines, .. } if lines == &["started"]), "{error:?}");
        assert_eq!(world.file("call.pid"), "");
    }

    #[tokio::test]
    async fn a_cancelled_call_ends_promptly_and_one_that_is_cancelled_before_never_begins() {
        let world = World::new();
        let start = Instant::now();
        // A shell that is just starting a program may keep an interrupt from it.
        let script = "trap 'exit 1' INT; touch \"$0\"; sleep 60 & wait";
        let begun = world.folder.path().join("begun");

        let (error, ()) = tokio::join!(world.run(shell(script).arg(&begun)), async {
            world.until(|_| begun.exists()).await;
            world.cancel.cancel();
        });
        let before = world.run(shell("touch \"$0\"")).await.unwrap_err();

        assert!(matches!(error, Err(ToolError::Cancelled { .. })));
        assert!(matches!(before, ToolError::Cancelled { .. }));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_program_goes_on_without_us_and_settle_waits_for_it() {
        let world = World::new();
        let (begun, done) = (world.folder.path().join("begun"), world.folder.path().join("done"));
        let script = "touch \"$BEGUN\"; sleep 1; echo over > \"$DONE\"";
        let process = tokio::select! {
            _ = world.run(shell(script).env("BEGUN", &begun).env("DONE", &done)) => None,
            () = world.until(|_| begun.exists()) => world.process(),
        };

        assert!(process.unwrap().is_running() && !done.exists());
        world.await_orphans(Duration::from_secs(30)).await;

        assert_eq!(world.file("done"), "over\n");
        assert_eq!(world.file("call.pid"), "");
    }

    #[tokio::test]
    async fn settle_ends_what_does_not_end_in_time() {
        let world = World::new();
        let process = tokio::select! {
            _ = world.run(shell("sleep 60")) => None,
            () = world.until(|world| world.process().is_some()) => world.process(),
        };

        world.await_orphans(Duration::from_millis(50)).await;

        assert!(!process.unwrap().is_running());
    }

    #[tokio::test]
    async fn a_program_is_interrupted_once_also_by_two_servers() {
        let world = World::new();
        let script =
            "trap 'echo stop >> \"$STOPS\"' INT; touch \"$BEGUN\"; for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done";
        let begun = world.folder.path().join("begun");
        let call = shell(script).env("STOPS", world.folder.path().join("stops")).env("BEGUN", &begun);
        let call = call.grace(Duration::from_secs(10));
        tokio::select! {
            _ = world.run(call) => panic!("it takes a while to stop"),
            () = async {
                world.until(|_| begun.exists()).await;
                world.cancel.cancel();
                world.until(|world| !world.file("stops").is_empty()).await;
            } => (),
        }

        world.await_orphans(Duration::ZERO).await;

        assert_eq!(world.file("stops"), "stop\n");
        assert_eq!(world.file("call.pid"), "");
    }

    #[tokio::test]
    async fn lines_of_standard_output_are_told_when_asked_for() {
        let world = World::new();

        let output = world.run(shell("echo one; echo two").tell_stdout()).await.unwrap();

        assert_eq!(output.stdout, "one\ntwo\n");
        assert_eq!(world.outputs(), ["one", "two"]);
    }

    #[tokio::test]
    async fn settle_waits_for_what_a_killed_program_has_started() {
        let world = World::new();
        let done = world.folder.path().join("done");
        let script = "(sleep 1; echo over > \"$DONE\") & kill -9 $$";

        let error = world.run(shell(script).env("DONE", &done)).await.unwrap_err();

        assert_eq!(error.to_string(), "`sh` ended with signal 9: it printed nothing");
        assert_eq!(world.file("done"), "over\n");
    }

    #[tokio::test]
    async fn another_process_with_the_number_of_an_old_one_is_left_alone() {
        let world = World::new();
        let own = i32::try_from(std::process::id()).unwrap();
        let record = world.folder.path().join("call.pid");
        std::fs::write(
            &record,
            serde_json::to_string(&Process { pid: own, started: 1, grace_s: 1, interrupted: false }).unwrap(),
        )
        .unwrap();

        world.await_orphans(Duration::ZERO).await;

        assert!(!record.exists());
    }
}
