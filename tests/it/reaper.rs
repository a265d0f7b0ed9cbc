//! The program that runs all tests (tests/reaper) leaves nothing running.

use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A program below the reaper that has begun another one, in a session of its own, and says which.
#[expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]
async fn begun(script: &str) -> (Child, String) {
    let reaper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reaper");
    let script = format!("setsid sleep 600 >/dev/null & echo $!; {script}");
    let mut command = Command::new(reaper);
    command.args(["sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pid = lines.next_line().await.unwrap().expect("the pid of what it has begun");
    (child, format!("/proc/{pid}"))
}

#[tokio::test]
async fn what_a_run_has_begun_ends_with_it_and_its_status_is_kept() {
    let (mut reaper, process) = begun("exit 3").await;

    let status = reaper.wait().await.unwrap();

    assert_eq!(status.code(), Some(3));
    assert!(!Path::new(&process).exists());
}

#[tokio::test]
async fn what_a_run_has_begun_ends_when_the_run_is_told_to_end() {
    let (mut reaper, process) = begun("sleep 600").await;
    let was_there = Path::new(&process).exists();
    let pid = Pid::from_raw(i32::try_from(reaper.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();

    let status = reaper.wait().await.unwrap();

    assert_eq!(status.code(), Some(128 + 15));
    assert!(was_there && !Path::new(&process).exists());
}
