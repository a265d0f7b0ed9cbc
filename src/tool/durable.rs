//! Calls that outlive a killed server: output in files, the process on record before it works.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Call, GRACE, Output, ToolError, open_gate};
use crate::event::Lines;

/// How often the output files and left-over processes are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What is on record of a running program. Process ids are used again: the start time tells two apart.
#[derive(Debug, Serialize, Deserialize)]
struct Process {
    pid: i32,
    /// Clock ticks after boot (proc(5), `/proc/<pid>/stat`, field 22).
    started: u64,
}

impl Process {
    fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started: start_time(pid)? })
    }

    fn is_running(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }
}

fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let is_alive = !matches!(*fields.first()?, "Z" | "X");
    is_alive.then(|| fields.get(19)?.parse().ok())?
}

impl Call {
    /// Runs a program that changes the world: it goes on when this server is killed, and is then found by [`settle`].
    ///
    /// `folder` is the step's own; `name` tells the calls of one step apart.
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
        let io = |source| self.io(source);
        std::fs::create_dir_all(folder).map_err(io)?;
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
        let process = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Process::of);
        let process = process.ok_or_else(|| io(io::Error::other("it ended before it began")))?;
        write_record(&record, &process).map_err(io)?;
        open_gate(&mut child).await.map_err(io)?;

        let mut followed = Followed::open(&stderr_path).map_err(io)?;
        let deadline = tokio::time::Instant::now() + self.timeout;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status.map_err(io)?,
                () = tokio::time::sleep(LOOK) => {
                    followed.pass_on(|line| lines.output(self.redactor.redact(line).as_ref())).map_err(io)?;
                    if tokio::time::Instant::now() >= deadline {
                        self.interrupt(&mut child).await;
                        let _ = std::fs::remove_file(&record);
                        let said = self.read(&stderr_path).map_err(io)?;
                        return Err(ToolError::TimedOut {
                            program: self.name(),
                            limit: self.timeout,
                            lines: super::last_lines(&said),
                        });
                    }
                }
                () = cancel.cancelled() => {
                    self.interrupt(&mut child).await;
                    let _ = std::fs::remove_file(&record);
                    return Err(ToolError::Cancelled { program: self.name() });
                }
            }
        };
        let _ = std::fs::remove_file(&record);
        followed.pass_on(|line| lines.output(self.redactor.redact(line).as_ref())).map_err(io)?;
        if status.code() == Some(127) || status.code() == Some(126) {
            let said = self.read(&stderr_path).map_err(io)?;
            return Err(self.not_runnable(io::Error::new(io::ErrorKind::NotFound, said.trim().to_owned())));
        }
        let output =
            Output { stdout: self.read(&stdout_path).map_err(io)?, stderr: self.read(&stderr_path).map_err(io)? };
        self.judge(status, output)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let bytes = std::fs::read(path)?;
        Ok(self.redactor.redact(&String::from_utf8_lossy(&bytes)).into_owned())
    }
}

/// Waits until no program that an earlier server left behind works in this folder; after `limit` it is interrupted.
///
/// # Errors
/// When the folder cannot be read.
pub async fn settle(folder: &Path, limit: Duration, lines: &Lines, cancel: &CancellationToken) -> io::Result<()> {
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
            wait_for(&process, &name, limit, lines, cancel).await;
        }
        std::fs::remove_file(&path)?;
    }
    Ok(())
}

async fn wait_for(process: &Process, name: &str, limit: Duration, lines: &Lines, cancel: &CancellationToken) {
    let start = tokio::time::Instant::now();
    while process.is_running() && start.elapsed() < limit && !cancel.is_cancelled() {
        lines.progress(format!("waiting for `{name}`, which was under way, {} s", start.elapsed().as_secs()));
        tokio::time::sleep(LOOK * 4).await;
    }
    let Some(group) = Pid::from_raw(process.pid).filter(|_| process.is_running()) else { return };
    let _ = rustix::process::kill_process_group(group, Signal::INT);
    let start = tokio::time::Instant::now();
    while process.is_running() && start.elapsed() < GRACE {
        tokio::time::sleep(LOOK).await;
    }
    if process.is_running() {
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
    position: u64,
    rest: Vec<u8>,
}

impl Followed {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, position: 0, rest: Vec::new() })
    }

    fn pass_on(&mut self, take: impl Fn(&str)) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.position))?;
        let read = self.file.read_to_end(&mut self.rest)?;
        self.position += read as u64;
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            take(String::from_utf8_lossy(&line).trim_end());
        }
        Ok(())
    }
}
