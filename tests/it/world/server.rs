//! The real program as a process of its own, so that it can be killed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

use super::eventually;

const PROGRAM: &str = env!("CARGO_BIN_EXE_on-demand-infra");

/// The program in this folder, with these settings and no others.
pub(super) fn program(folder: &Path, settings: &BTreeMap<String, String>) -> Command {
    started(&[PROGRAM], folder, settings)
}

#[expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]
fn started(words: &[&str], folder: &Path, settings: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs(settings)
        .stdin(Stdio::null());
    command
}

/// A server that was started. It is killed with this value.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    /// Where this start's lines begin in the log.
    begin: u64,
}

impl Server {
    pub(super) fn spawn(world: &Path, settings: &BTreeMap<String, String>) -> Self {
        Self::spawn_as(program(world, settings), world)
    }

    /// One that ignores SIGINT from its start, like what a script starts with `&`.
    pub(super) fn spawn_ignoring_interrupts(world: &Path, settings: &BTreeMap<String, String>) -> Self {
        Self::spawn_as(started(&["sh", "-c", "trap '' INT; exec \"$0\"", PROGRAM], world, settings), world)
    }

    fn spawn_as(mut command: Command, world: &Path) -> Self {
        let log = world.join("server.log");
        let file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let begin = file.metadata().unwrap().len();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).kill_on_drop(true).spawn().unwrap();
        Self { child, log, begin }
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("nobody has waited for it")
    }

    /// What this start has logged so far.
    pub(crate) fn log(&self) -> String {
        let mut file = File::open(&self.log).unwrap();
        file.seek(SeekFrom::Start(self.begin)).unwrap();
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until it listens; gives its address. `None` when it ended instead.
    pub(super) async fn address(&mut self) -> Option<String> {
        let mut address = None;
        eventually("the server to start", async || {
            address = self.log().lines().find(|line| line.contains("the server is ready")).and_then(|line| {
                let rest = line.split_once("address=")?.1;
                Some(rest.split_whitespace().next()?.to_owned())
            });
            address.is_some() || self.child.try_wait().unwrap().is_some()
        })
        .await;
        address
    }

    /// kill -9, at once.
    pub(crate) async fn kill(&mut self) {
        let _ = self.child.start_kill();
        self.child.wait().await.unwrap();
    }

    /// Asks it to stop, and waits for its end.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).unwrap())) {
            rustix::process::kill_process(pid, Signal::TERM).unwrap();
        }
        self.ended().await
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("the server does not end: {}", self.log())).unwrap()
    }
}
