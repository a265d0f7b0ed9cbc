//! The same stories over both connections. The other machine is this one, behind an ssh that is a script: it runs what it is
//! told, and can be cut off.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal};
use secrecy::SecretString;
use tempfile::TempDir;

use super::*;
use crate::config::value::Database;
use crate::event::Line;
use crate::id::OperationId;
use crate::store::Store;
use crate::store::calls::CallLog;
use crate::tool::process::InheritedEnv;
use crate::tool::ssh::{Ssh, SshAddress, SshError};
use crate::tool::step_calls::find_supervisor;
use crate::tool::write_executable;

/// Runs the last argument as the other side's shell would. `cut` ends connections and keeps new ones from being made,
/// `refuse` is what it says instead of connecting.
const SSH: &str = r#"#!/bin/sh
world=@WORLD@
echo "$*" >>"$world/calls"
for command; do :; done
case " $* " in
  *" -M "*) [ -e "$world/refuse" ] && { cat "$world/refuse" >&2; exit 255; } ;;
  *) [ -e "$world/cut" ] && exit 255 ;;
esac
[ -e "$world/cut" ] && { echo "ssh: connect to host 192.0.2.7 port 22: Connection refused" >&2; exit 255; }
HOME=$world/home
export HOME
: >"$world/alive/$$"
trap 'rm "$world/alive/$$"' EXIT
cd "$HOME"
exec 4<&0
# What is started in the background by a shell ignores interrupts; what a real ssh starts does not.
setsid env --default-signal=INT,QUIT sh -c "$command" <&4 &
child=$!
while kill -0 "$child" 2>/dev/null; do
  [ -e "$world/cut" ] && { kill -KILL "-$child"; { wait "$child"; } 2>/dev/null; exit 255; }
  sleep 0.02
done
wait "$child"
"#;

struct World {
    folder: TempDir,
    connection: Connection,
    said: Arc<Mutex<Vec<Line>>>,
    cancel: CancellationToken,
    /// The store, for a story that is about it.
    log: Option<CallLog>,
}

impl World {
    fn local() -> Self {
        // Like a process 1 that waits for nobody: who has ended stays as a zombie.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            connection: Connection::Local,
            said: Arc::default(),
            cancel: CancellationToken::new(),
            log: None,
        }
    }

    fn ssh() -> Self {
        let world = Self::local();
        let program = world.path("ssh");
        write_executable(&program, &SSH.replace("@WORLD@", &world.path("").display().to_string()));
        for name in ["home", "alive"] {
            std::fs::create_dir(world.path(name)).unwrap();
        }
        let address = SshAddress {
            address: "192.0.2.7".parse().unwrap(),
            port: 22,
            user: "ubuntu".to_owned(),
            private_key: "/keys/mine.pem".into(),
            known_hosts: world.path("known_hosts"),
            alias: "i-1".to_owned(),
            host_keys: vec!["ssh-ed25519 AAAA".to_owned()],
        };
        Self { connection: Connection::Ssh(Ssh::new(&program, address).unwrap()), ..world }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn lines(&self) -> Lines {
        let said = Arc::clone(&self.said);
        Lines::new(move |line| said.lock().unwrap().push(line))
    }

    fn said(&self) -> Vec<Line> {
        self.said.lock().unwrap().clone()
    }

    fn outputs(&self) -> Vec<String> {
        let said = self.said().into_iter();
        said.filter_map(|line| if let Line::Output(text) = line { Some(text) } else { None }).collect()
    }

    /// The folder of the step.
    fn calls(&self) -> PathBuf {
        self.path("calls of a step")
    }

    fn step_calls(&self) -> StepCalls {
        StepCalls { folder: self.calls(), log: self.log.clone() }
    }

    fn newest_run(&self) -> Option<PathBuf> {
        let runs = std::fs::read_dir(self.calls()).into_iter().flatten().flatten();
        runs.map(|entry| entry.path()).filter(|path| path.is_dir()).max()
    }

    /// A file of the newest run.
    fn run_file(&self, name: &str) -> String {
        self.newest_run().and_then(|run| std::fs::read_to_string(run.join(name)).ok()).unwrap_or_default()
    }

    /// The leader of the newest run, once it is on record.
    fn leader(&self) -> Option<i32> {
        self.run_file("process").split(' ').next()?.parse().ok()
    }

    fn shell(&self, script: &str) -> Call {
        self.connection.call("sh").args(["-c", script])
    }

    async fn inspect(&self, call: Call) -> Result<Output, ToolError> {
        call.run(&self.lines(), &self.cancel).await
    }

    async fn supervise(&self, call: Call) -> Result<Output, ToolError> {
        call.run_durably(&self.step_calls(), "call", &self.lines(), &self.cancel).await
    }

    /// Waits for what was left behind, all of which may take so long from its start on.
    async fn await_orphans(&self, limit: Duration) {
        for run in std::fs::read_dir(self.calls()).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if run.join("timeout_s").exists() {
                std::fs::write(run.join("timeout_s"), format!("{}\n", limit.as_secs())).unwrap();
            }
        }
        self.connection.await_orphans(&self.step_calls(), limit, &self.lines(), &self.cancel).await.unwrap();
    }

    async fn was_started(&self, name: &str) -> bool {
        self.connection.was_started(&self.step_calls(), name).await.unwrap()
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !what(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    }

    /// Cuts every connection, and lets new ones be made when all of them have ended.
    async fn cut(&self) {
        std::fs::write(self.path("cut"), "").unwrap();
        self.until(|world| std::fs::read_dir(world.path("alive")).unwrap().next().is_none()).await;
        std::fs::remove_file(self.path("cut")).unwrap();
    }
}

/// Whether a process runs; one that has ended may stay as a zombie.
fn is_running(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

/// When a process was started: field 22 of proc(5).
fn started(pid: i32) -> String {
    stat(pid).unwrap().swap_remove(19)
}

fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The names of the files below a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let (mut found, mut left) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = left.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                left.push(path);
            } else if String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(text) {
                found.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// Every story over both connections.
macro_rules! over_both_connections {
    ($($story:ident,)*) => {
        mod local {
            $(#[tokio::test] async fn $story() { super::$story(super::World::local()).await })*
        }
        mod ssh {
            $(#[tokio::test] async fn $story() { super::$story(super::World::ssh()).await })*
        }
    };
}

over_both_connections! {
    words_stay_words_whatever_is_in_them,
    output_status_and_directory_are_those_of_the_program,
    a_secret_goes_through_the_input_alone_and_is_in_no_line,
    a_program_that_is_not_there_is_told_from_one_that_ends_with_127,
    a_program_goes_on_without_us_and_is_waited_for,
    waiting_interrupts_what_does_not_end_in_time,
    what_was_left_behind_may_take_as_long_as_its_call_may,
    a_cancelled_or_late_program_is_interrupted,
    a_program_that_is_gone_with_its_supervisor_may_be_tried_again,
    a_program_whose_files_are_removed_is_not_waited_for_when_it_has_ended,
    a_program_whose_files_are_removed_is_interrupted_all_the_same,
    output_comes_in_order_to_its_last_unfinished_line,
    lines_of_standard_output_are_handed_on_when_asked_for,
    a_program_reads_nothing,
    a_secret_is_in_no_error_and_in_no_file_but_what_the_program_printed,
    files_of_a_run_are_for_their_owner_alone,
    a_time_out_ends_the_whole_group_and_keeps_the_last_lines,
    a_cancelled_call_ends_promptly_and_one_that_is_cancelled_before_never_begins,
    waiting_ends_what_does_not_end_in_time,
    a_program_is_interrupted_once_also_by_two_servers,
    what_ignores_its_interrupt_is_killed_when_its_own_grace_period_is_over,
    runs_of_a_folder_share_the_time_that_they_are_waited_for,
    an_interrupt_that_cannot_be_recorded_is_sent_and_other_runs_have_theirs,
    what_is_no_record_is_passed_over,
    a_grace_period_that_is_no_number_is_the_usual_one,
    what_a_killed_program_has_started_is_waited_for,
    what_goes_on_without_its_supervisor_is_waited_for_too,
    another_process_with_the_number_of_an_old_one_is_left_alone,
    a_run_that_is_not_on_record_when_it_is_looked_for_never_begins,
    a_run_that_had_its_interrupt_before_its_program_began_never_begins,
    a_call_is_known_to_have_been_started,
}

async fn words_stay_words_whatever_is_in_them(world: World) {
    let words = ["a b", "$(id)", "it's", "-n", "", "*", "two\nlines", "\\", "\"q\""];

    let looked = world.inspect(world.connection.call("printf").arg("<%s>").args(words)).await.unwrap();
    let worked = world.supervise(world.connection.call("printf").arg("<%s>").args(words)).await.unwrap();

    let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
    assert_eq!((looked.stdout, worked.stdout), (expected.clone(), expected));
}

async fn output_status_and_directory_are_those_of_the_program(world: World) {
    let script = "pwd; echo one >&2; printf two >&2; exit 3";

    for error in [
        world.inspect(world.shell(script).directory(world.path(""))).await.unwrap_err(),
        world.supervise(world.shell(script).directory(world.path(""))).await.unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "`sh` ended with exit code 3: two");
        assert_eq!(error.lines(), ["one", "two"]);
    }
    assert_eq!(world.said(), ["one", "two", "one", "two"].map(|it| Line::Output(it.to_owned())));
}

async fn a_secret_goes_through_the_input_alone_and_is_in_no_line(world: World) {
    let secret = SecretString::from("s3cr3t' $(id)");
    let script = "[ \"$TOKEN\" = \"s3cr3t' \\$(id)\" ] && echo \"it is $TOKEN\" >&2";

    let looked = world.inspect(world.shell(script).secret_env("TOKEN", &secret)).await.unwrap();
    let worked = world.supervise(world.shell(script).secret_env("TOKEN", &secret)).await.unwrap();

    assert!(!format!("{looked:?}{worked:?}{:?}{}", world.said(), world.read("calls")).contains("s3cr3t' $(id)"));
}

async fn a_program_that_is_not_there_is_told_from_one_that_ends_with_127(world: World) {
    for error in [
        world.inspect(world.connection.call("no-such-program")).await.unwrap_err(),
        world.supervise(world.connection.call("no-such-program")).await.unwrap_err(),
    ] {
        assert!(matches!(error, ToolError::NotRunnable { .. }), "{error:?}");
    }
    let error = world.supervise(world.shell("echo no >&2; exit 127")).await.unwrap_err();
    assert_eq!(error.to_string(), "`sh` ended with exit code 127: no");
}

async fn a_program_goes_on_without_us_and_is_waited_for(world: World) {
    let (begun, done) = (world.path("begun"), world.path("done"));
    tokio::select! {
        _ = world.supervise(world.shell("touch \"$0\"; sleep 1; echo over >\"$1\"").arg(&begun).arg(&done)) => (),
        () = world.until(|_| begun.exists()) => (),
    }

    assert!(is_running(world.leader().unwrap()) && !done.exists());
    world.await_orphans(Duration::from_secs(30)).await;

    assert_eq!(world.read("done"), "over\n");
}

async fn waiting_interrupts_what_does_not_end_in_time(world: World) {
    let begun = world.path("begun");
    let script = "trap 'echo interrupted >\"$0\"; exit 1' INT; touch \"$0\"; sleep 60 & wait";
    tokio::select! {
        _ = world.supervise(world.shell(script).arg(&begun)) => (),
        () = world.until(|_| begun.exists()) => (),
    }

    world.await_orphans(Duration::from_millis(50)).await;

    assert_eq!(world.read("begun"), "interrupted\n");
}

async fn what_was_left_behind_may_take_as_long_as_its_call_may(world: World) {
    let (begun, done) = (world.path("begun"), world.path("done"));
    let call = world.shell("touch \"$0\"; sleep 2; echo over >\"$1\"").arg(&begun).arg(&done);
    tokio::select! {
        _ = world.supervise(call.timeout(Duration::from_mins(1))) => (),
        () = world.until(|_| begun.exists()) => (),
    }
    let late = world.path("late");
    let script = "trap 'echo interrupted >\"$0\"; exit 1' INT; touch \"$0\"; sleep 60 & wait";
    tokio::select! {
        _ = world.supervise(world.shell(script).arg(&late).timeout(Duration::from_secs(3))) => (),
        () = world.until(|_| late.exists()) => (),
    }

    let (connection, lines) = (&world.connection, world.lines());
    connection.await_orphans(&world.step_calls(), Duration::ZERO, &lines, &world.cancel).await.unwrap();

    // The second one is not interrupted before the first has ended.
    assert_eq!((world.read("done"), world.read("late")), ("over\n".into(), "interrupted\n".into()));
}

async fn a_cancelled_or_late_program_is_interrupted(world: World) {
    let begun = world.path("begun");

    let late = world.supervise(world.shell("echo started >&2; sleep 60").timeout(Duration::from_millis(800))).await;
    let script = "trap 'echo interrupted >\"$0\"; exit 1' INT; touch \"$0\"; sleep 60 & wait";
    let (cancelled, ()) = tokio::join!(world.supervise(world.shell(script).arg(&begun)), async {
        world.until(|_| begun.exists()).await;
        world.cancel.cancel();
    });

    assert!(matches!(&late, Err(ToolError::TimedOut { lines, .. }) if lines == &["started"]), "{late:?}");
    assert!(matches!(cancelled, Err(ToolError::Cancelled { .. })));
    assert_eq!(world.read("begun"), "interrupted\n");
}

async fn a_program_that_is_gone_with_its_supervisor_may_be_tried_again(world: World) {
    let error = world.supervise(world.shell("sleep 0.3; kill -9 0")).await.unwrap_err();

    assert_eq!(
        error.to_string(),
        "`sh` left no status: its supervisor was killed, its files were removed, or its machine was restarted"
    );
    assert!(error.is_transient());
}

async fn a_program_whose_files_are_removed_is_not_waited_for_when_it_has_ended(world: World) {
    let call = world.shell("sleep 0.3; rm -rf \"$0\"").arg(world.calls());

    let error = world.supervise(call.timeout(Duration::from_secs(15))).await.unwrap_err();

    assert!(matches!(error, ToolError::Vanished { .. }), "{error:?}");
}

async fn a_program_whose_files_are_removed_is_interrupted_all_the_same(world: World) {
    let begun = world.path("begun");
    let script = "trap 'echo interrupted >\"$0\"; exit 1' INT; touch \"$0\"; sleep 60 & wait";

    let (error, ()) = tokio::join!(world.supervise(world.shell(script).arg(&begun)), async {
        world.until(|_| begun.exists()).await;
        // It fails when somebody makes a file meanwhile.
        world.until(|world| std::fs::remove_dir_all(world.calls()).is_ok() || !world.calls().exists()).await;
        world.cancel.cancel();
    });

    // It vanished when the files were gone before they were followed.
    assert!(matches!(error, Err(ToolError::Cancelled { .. } | ToolError::Vanished { .. })), "{error:?}");
    world.until(|world| world.read("begun") == "interrupted\n").await;
}

async fn output_comes_in_order_to_its_last_unfinished_line(world: World) {
    let script = "echo data; echo one >&2; echo two >&2; printf three >&2";

    let output = world.supervise(world.shell(script)).await.unwrap();

    assert_eq!(output, Output { stdout: "data\n".into(), stderr: "one\ntwo\nthree".into() });
    assert_eq!(world.outputs(), ["one", "two", "three"]);
}

async fn lines_of_standard_output_are_handed_on_when_asked_for(world: World) {
    let output = world.supervise(world.shell("echo one; echo two").stream_stdout()).await.unwrap();

    assert_eq!(output.stdout, "one\ntwo\n");
    assert_eq!(world.outputs(), ["one", "two"]);
}

async fn a_program_reads_nothing(world: World) {
    let output = world.supervise(world.connection.call("cat")).await.unwrap();

    assert_eq!(output.stdout, "");
}

async fn a_secret_is_in_no_error_and_in_no_file_but_what_the_program_printed(world: World) {
    let secret = SecretString::from("s3cr3t-t0ken");
    let script = "tr '\\0' ' ' </proc/$PPID/cmdline; echo \"it is $TOKEN\" >&2; exit 1";

    let error = world.supervise(world.shell(script).secret_env("TOKEN", &secret)).await.unwrap_err();

    assert!(!format!("{error}{error:?}{:?}", world.outputs()).contains("s3cr3t"));
    assert!(world.run_file("out").contains("supervise") && !world.run_file("out").contains("s3cr3t"));
    assert_eq!(files_with(&world.calls(), "s3cr3t"), ["err"]);
}

async fn files_of_a_run_are_for_their_owner_alone(world: World) {
    world.supervise(world.shell("echo one; echo two >&2")).await.unwrap();

    assert_eq!(mode(&world.calls()), 0o700);
    for entry in std::fs::read_dir(world.calls()).unwrap() {
        let run = entry.unwrap().path();
        assert_eq!((mode(&run), mode(&run.join("out")), mode(&run.join("err"))), (0o700, 0o600, 0o600));
    }
}

async fn a_time_out_ends_the_whole_group_and_keeps_the_last_lines(world: World) {
    let script = "trap 'echo stopping >&2; exit 1' INT; echo started >&2; sleep 60 & echo $! >\"$0\"; wait";
    let call = world.shell(script).arg(world.path("sleep")).timeout(Duration::from_secs(1));

    let error = world.supervise(call).await.unwrap_err();

    assert!(matches!(&error, ToolError::TimedOut { lines, .. } if lines == &["started", "stopping"]), "{error:?}");
    world.until(|world| !is_running(world.read("sleep").trim().parse().unwrap())).await;
}

async fn a_cancelled_call_ends_promptly_and_one_that_is_cancelled_before_never_begins(world: World) {
    let start = Instant::now();
    // A shell that is just starting a program may keep an interrupt from it.
    let script = "trap 'exit 1' INT; touch \"$0\"; sleep 60 & wait";
    let (begun, never) = (world.path("begun"), world.path("never"));

    let (error, ()) = tokio::join!(world.supervise(world.shell(script).arg(&begun)), async {
        world.until(|_| begun.exists()).await;
        world.cancel.cancel();
    });
    let before = world.supervise(world.shell("touch \"$0\"").arg(&never)).await.unwrap_err();

    assert!(matches!(error, Err(ToolError::Cancelled { .. })));
    assert!(matches!(before, ToolError::Cancelled { .. }) && !never.exists());
    assert!(start.elapsed() < Duration::from_secs(5));
}

async fn waiting_ends_what_does_not_end_in_time(world: World) {
    let begun = world.path("begun");
    tokio::select! {
        _ = world.supervise(world.shell("touch \"$0\"; sleep 60").arg(&begun)) => (),
        () = world.until(|_| begun.exists()) => (),
    }
    let leader = world.leader().unwrap();

    world.await_orphans(Duration::from_millis(50)).await;

    world.until(|_| !is_running(leader)).await;
}

async fn a_program_is_interrupted_once_also_by_two_servers(world: World) {
    let script = "trap 'echo stop >>\"$0\"' INT; touch \"$1\"; until [ -s \"$0\" ]; do sleep 0.1; done; sleep 0.8; echo over >>\"$0\"";
    let begun = world.path("begun");
    let call = world.shell(script).arg(world.path("stops")).arg(&begun).grace(Duration::from_secs(20));
    tokio::select! {
        _ = world.supervise(call) => panic!("it takes a while to stop"),
        () = async {
            world.until(|_| begun.exists()).await;
            world.cancel.cancel();
            world.until(|world| !world.read("stops").is_empty()).await;
        } => (),
    }

    world.await_orphans(Duration::ZERO).await;

    assert_eq!(world.read("stops"), "stop\nover\n");
    assert_eq!(world.run_file("grace_s"), "20\n");
}

async fn what_ignores_its_interrupt_is_killed_when_its_own_grace_period_is_over(world: World) {
    let begun = world.path("begun");
    let call = world.shell("trap '' INT; touch \"$0\"; while true; do sleep 1; done").arg(&begun);
    tokio::select! {
        _ = world.supervise(call.grace(Duration::from_secs(1))) => (),
        () = world.until(|_| begun.exists()) => (),
    }
    let leader = world.leader().unwrap();

    world.await_orphans(Duration::ZERO).await;

    world.until(|_| !is_running(leader)).await;
}

async fn runs_of_a_folder_share_the_time_that_they_are_waited_for(world: World) {
    let script = "trap '' INT; touch \"$0\"; while true; do sleep 1; done";
    let (first, second) = (world.path("first"), world.path("second"));
    tokio::select! {
        _ = world.supervise(world.shell(script).arg(&first).grace(Duration::from_secs(3))) => (),
        _ = world.supervise(world.shell(script).arg(&second).grace(Duration::from_secs(3))) => (),
        () = world.until(|_| first.exists() && second.exists()) => (),
    }
    let start = Instant::now();

    world.await_orphans(Duration::ZERO).await;

    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(3) && waited < Duration::from_secs(6), "{waited:?}");
}

async fn an_interrupt_that_cannot_be_recorded_is_sent_and_other_runs_have_theirs(world: World) {
    let (first, second) = (world.path("first"), world.path("second"));
    let script = "trap 'echo interrupted >\"$0\"; exit 1' INT; touch \"$0\"; sleep 60 & wait";
    tokio::select! {
        _ = world.supervise(world.shell(script).arg(&first)) => (),
        () = world.until(|_| first.exists()) => (),
    }
    std::os::unix::fs::symlink("/nowhere/file", world.newest_run().unwrap().join("interrupted")).unwrap();
    tokio::select! {
        _ = world.supervise(world.shell(script).arg(&second)) => (),
        () = world.until(|_| second.exists()) => (),
    }

    world.await_orphans(Duration::ZERO).await;

    assert_eq!((world.read("first"), world.read("second")), ("interrupted\n".into(), "interrupted\n".into()));
}

async fn what_is_no_record_is_passed_over(world: World) {
    for (number, text) in ["", "\n", ".* 5\n", "no number\n", "1 5\n", "12 34 56\n", "12"].into_iter().enumerate() {
        let run = world.calls().join(format!("call.{number:032}"));
        std::fs::create_dir_all(&run).unwrap();
        std::fs::write(run.join("process"), text).unwrap();
    }
    std::fs::create_dir_all(world.calls().join(format!("call.{:032}/process", 99))).unwrap();

    world.await_orphans(Duration::from_secs(30)).await;

    assert_eq!(world.said(), []);
}

async fn a_grace_period_that_is_no_number_is_the_usual_one(world: World) {
    for text in ["abc\n", "08\n", "5 x\n", "1;2\n", "99999999999999999999\n", ""] {
        let begun = world.path(&format!("begun {}", text.trim()));
        tokio::select! {
            _ = world.supervise(world.shell("touch \"$0\"; exec sleep 60").arg(&begun)) => (),
            () = world.until(|_| begun.exists()) => (),
        }
        let leader = world.leader().unwrap();
        std::fs::write(world.newest_run().unwrap().join("grace_s"), text).unwrap();

        world.await_orphans(Duration::ZERO).await;

        assert!(!is_running(leader), "{text}");
    }
}

async fn what_a_killed_program_has_started_is_waited_for(world: World) {
    let script = "(sleep 1; echo over >\"$0\") & kill -9 $$";

    let error = world.supervise(world.shell(script).arg(world.path("done"))).await.unwrap_err();

    assert!(matches!(error, ToolError::Killed { .. }), "{error:?}");
    assert_eq!(world.read("done"), "over\n");
}

async fn what_goes_on_without_its_supervisor_is_waited_for_too(world: World) {
    let (begun, done) = (world.path("begun"), world.path("done"));
    let script = "touch \"$0\"; sleep 1; echo over >\"$1\"";
    tokio::select! {
        _ = world.supervise(world.shell(script).arg(&begun).arg(&done)) => (),
        () = world.until(|_| begun.exists()) => (),
    }
    let supervisor = Pid::from_raw(world.leader().unwrap()).unwrap();
    rustix::process::kill_process(supervisor, Signal::KILL).unwrap();

    world.await_orphans(Duration::from_secs(30)).await;

    assert_eq!(world.read("done"), "over\n");
}

async fn another_process_with_the_number_of_an_old_one_is_left_alone(world: World) {
    let run = world.calls().join("call.0190163d8694739bac4edfb50a4ba2b0");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("process"), format!("{} 1\n", std::process::id())).unwrap();

    world.await_orphans(Duration::ZERO).await;
}

async fn a_run_that_is_not_on_record_when_it_is_looked_for_never_begins(world: World) {
    let run = world.calls().join("call.0190163d8694739bac4edfb50a4ba2b0");
    std::fs::create_dir_all(&run).unwrap();
    world.await_orphans(Duration::ZERO).await;

    let never = world.path("never");
    let late = world.inspect(supervisor(&world, &run).arg("touch").arg(&never)).await;

    assert!(late.is_err() && !never.exists());
}

async fn a_run_that_had_its_interrupt_before_its_program_began_never_begins(world: World) {
    let run = world.calls().join("call.0190163d8694739bac4edfb50a4ba2b0");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("interrupted"), "").unwrap();

    let never = world.path("never");
    world.inspect(supervisor(&world, &run).arg("touch").arg(&never)).await.unwrap();

    assert_eq!(world.run_file("status"), "130\n");
    assert!(!never.exists());
}

fn supervisor(world: &World, run: &Path) -> Call {
    world.connection.call("sh").args(["-c", SUPERVISE, "supervise"]).arg(run).arg("5")
}

async fn a_call_is_known_to_have_been_started(world: World) {
    std::fs::create_dir(world.calls()).unwrap();
    std::fs::write(world.calls().join("old.out"), "").unwrap();

    world.supervise(world.connection.call("true")).await.unwrap();

    assert!(world.was_started("call").await);
    assert!(world.was_started("old").await, "as it was kept before every run had a folder");
    assert!(!world.was_started("other").await);
}

/// A store with an operation that has a step.
async fn logged(world: World) -> World {
    let database = Database::Sqlite(world.path("store.sqlite"));
    let store = Store::open(&database).await.unwrap();
    World { log: Some(CallLog::new(store, OperationId::new(), "step")), ..world }
}

#[tokio::test]
async fn a_program_is_waited_for_although_its_folder_is_gone() {
    let world = logged(World::local()).await;
    let (begun, done) = (world.path("begun"), world.path("done"));
    let call = world.shell("touch \"$0\"; sleep 1; touch \"$1\"").arg(&begun).arg(&done);
    tokio::select! {
        ended = world.supervise(call) => panic!("{ended:?}"),
        () = world.until(|_| begun.exists()) => (),
    }
    std::fs::remove_dir_all(world.calls()).unwrap();

    world.connection.await_orphans(&world.step_calls(), Duration::ZERO, &world.lines(), &world.cancel).await.unwrap();

    assert!(done.exists());
    assert!(world.was_started("call").await && !world.was_started("other").await);
    assert!(world.step_calls().begun().await.unwrap()[0].has_ended);
}

#[tokio::test]
async fn a_program_whose_process_is_not_in_the_store_yet_is_found_by_its_id() {
    let world = logged(World::local()).await;
    let (begun, done) = (world.path("begun"), world.path("done"));
    let call = world.shell("touch \"$0\"; sleep 1; touch \"$1\"").arg(&begun).arg(&done);
    tokio::select! {
        ended = world.supervise(call) => panic!("{ended:?}"),
        () = world.until(|_| begun.exists()) => (),
    }
    let run = world.step_calls().begun().await.unwrap().remove(0);
    std::fs::remove_dir_all(world.calls()).unwrap();

    let found = find_supervisor(&run.run);
    assert!(found.is_some() && run.process.is_none_or(|it| Some(it) == found), "{found:?}, {run:?}");
    assert_eq!(find_supervisor("0190163d8694739bac4edfb50a4ba2b0"), None);
    world.connection.await_orphans(&world.step_calls(), Duration::ZERO, &world.lines(), &world.cancel).await.unwrap();
    assert!(done.exists());
}

#[tokio::test]
async fn a_program_without_a_folder_is_interrupted_when_its_time_is_over() {
    let world = logged(World::local()).await;
    let (begun, told) = (world.path("begun"), world.path("told"));
    let script = "trap 'echo stop >>\"$1\"; exit 1' INT; touch \"$0\"; while true; do sleep 0.1; done";
    let call = world.shell(script).arg(&begun).arg(&told).timeout(Duration::from_secs(2));
    tokio::select! {
        ended = world.supervise(call) => panic!("{ended:?}"),
        () = world.until(|_| begun.exists()) => (),
    }
    std::fs::remove_dir_all(world.calls()).unwrap();

    world.connection.await_orphans(&world.step_calls(), Duration::ZERO, &world.lines(), &world.cancel).await.unwrap();

    assert_eq!(world.read("told"), "stop\n");
}

#[tokio::test]
async fn what_another_boot_began_is_not_looked_for() {
    let world = logged(World::local()).await;
    let call = BegunCall {
        run: "0190163d8694739bac4edfb50a4ba2b0".to_owned(),
        name: "call".to_owned(),
        boot: Some("another boot".to_owned()),
        process: Some((i64::from(std::process::id()), 1)),
        grace_s: 1,
        timeout_s: 60,
        has_ended: false,
    };
    world.step_calls().begin(&call).await.unwrap();

    world.await_orphans(Duration::from_secs(30)).await;

    assert!(!world.calls().exists());
    assert!(world.was_started("call").await);
}

/// A program as it was started before every run had a folder: it leads its group and has no supervisor. Its record is
/// `NAME.pid`.
async fn old_program(world: &World, script: &str, is_interrupted: bool) -> Child {
    std::fs::create_dir(world.calls()).unwrap();
    let begun = world.path("begun");
    let mut command = process::command("sh", &InheritedEnv::default());
    command.args(["-c", script]).arg(world.path("told")).arg(&begun);
    let program = command.spawn().unwrap();
    let pid = i32::try_from(program.id().unwrap()).unwrap();
    world.until(|_| begun.exists()).await;
    let started = started(pid);
    let record = format!(r#"{{"pid":{pid},"started":{started},"grace_s":20,"interrupted":{is_interrupted}}}"#);
    std::fs::write(world.calls().join("call.pid"), record).unwrap();
    program
}

#[tokio::test]
async fn a_program_of_an_old_record_is_waited_for() {
    let world = World::local();
    let script = "touch \"$1\"; sleep 1; echo over >>\"$0\"";
    let _program = old_program(&world, script, false).await;

    world.await_orphans(Duration::from_secs(30)).await;

    assert_eq!(world.read("told"), "over\n");
    assert!(world.was_started("call").await);
    assert_eq!(files_with(&world.calls(), "\"pid\""), Vec::<String>::new());
}

#[tokio::test]
async fn a_program_of_an_old_record_is_interrupted_when_it_does_not_end_in_time() {
    let world = World::local();
    let script =
        "trap 'echo stop >>\"$0\"' INT; touch \"$1\"; until [ -s \"$0\" ]; do sleep 0.1; done; echo over >>\"$0\"";
    let _program = old_program(&world, script, false).await;

    world.await_orphans(Duration::from_millis(1)).await;

    assert_eq!(world.read("told"), "stop\nover\n");
}

#[tokio::test]
async fn a_program_of_an_old_record_that_had_its_interrupt_gets_no_second_one() {
    let world = World::local();
    let script = "trap 'echo stop >>\"$0\"' INT; touch \"$1\"; sleep 1; echo over >>\"$0\"";
    let _program = old_program(&world, script, true).await;

    world.await_orphans(Duration::ZERO).await;

    assert_eq!(world.read("told"), "over\n");
}

#[tokio::test]
async fn what_is_no_old_record_stays_as_it_is() {
    let world = World::local();
    std::fs::create_dir_all(world.calls().join("folder.pid")).unwrap();
    std::fs::write(world.calls().join("garbled.pid"), "{\"pid\":").unwrap();

    world.await_orphans(Duration::ZERO).await;

    assert!(world.calls().join("folder.pid").is_dir());
    assert!(world.was_started("garbled").await);
}

#[tokio::test]
async fn a_file_in_the_way_of_an_old_record_is_named() {
    let world = World::local();
    std::fs::create_dir_all(world.calls()).unwrap();
    std::fs::write(world.calls().join("call.pid"), r#"{"pid":2,"started":1}"#).unwrap();
    let run = world.calls().join("call.00000000000000000000000000000000");
    std::fs::write(&run, "").unwrap();

    let waited =
        world.connection.await_orphans(&world.step_calls(), Duration::ZERO, &world.lines(), &world.cancel).await;

    assert_eq!(waited.unwrap_err().to_string(), format!("cannot use `{}`", run.display()));
}

#[tokio::test]
async fn a_program_that_can_never_be_followed_is_an_error() {
    let world = World::local();
    let script = "exec 2>/dev/null; while sleep 0.02; do \
        grep -lszx follow /proc/[0-9]*/cmdline | xargs -r grep -lsz \"^$0/\" | \
        sed 's|/proc/|-|; s|/.*||' | xargs -r kill -9 --; done";

    let error = world.supervise(world.shell(script).arg(world.calls())).await.unwrap_err();
    world.await_orphans(Duration::ZERO).await;

    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(error.to_string(), "cannot work with the files of `sh`");
    assert_eq!(cause, "what reads them ended 20 times, at last with signal 9: it printed nothing");
}

/// As the version before kept what it ran on another machine: without grace period, interrupt and lock.
#[tokio::test]
async fn a_program_of_an_old_run_on_another_machine_is_waited_for() {
    let world = World::ssh();
    let run = world.calls().join("call.0190163d8694739bac4edfb50a4ba2b0");
    std::fs::create_dir_all(&run).unwrap();
    let mut old = process::command("sh", &InheritedEnv::default())
        .args(["-c", "sleep 1; echo over >\"$0\"; echo 0 >\"$1/status\"; exec sleep 0.2"])
        .arg(world.path("done"))
        .arg(&run)
        .spawn()
        .unwrap();
    let pid = i32::try_from(old.id().unwrap()).unwrap();
    std::fs::write(run.join("process"), format!("{pid} {}\n", started(pid))).unwrap();

    world.await_orphans(Duration::from_secs(30)).await;

    assert_eq!(world.read("done"), "over\n");
    assert!(world.was_started("call").await);
    old.wait().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_drops_loses_no_line_and_starts_nothing_twice() {
    let world = World::ssh();
    let script = "echo begun >>\"$0\"; for i in 1 2 3 4 5 6 7 8; do echo line $i >&2; sleep 0.2; done; echo done";

    let (output, ()) = tokio::join!(world.supervise(world.shell(script).arg(world.path("begun"))), async {
        world.until(|world| world.said().contains(&Line::Output("line 2".to_owned()))).await;
        world.cut().await;
    });

    let expected: Vec<Line> = (1..=8).map(|it| Line::Output(format!("line {it}"))).collect();
    let said: Vec<Line> = world.said().into_iter().filter(|line| matches!(line, Line::Output(_))).collect();
    assert_eq!(output.unwrap().stdout, "done\n");
    assert_eq!(said, expected);
    assert_eq!(world.read("begun"), "begun\n");
}

#[tokio::test]
async fn a_look_that_a_drop_took_away_is_taken_again() {
    let world = World::ssh();
    let call = world.shell("echo look >>\"$0\"; sleep 1; echo seen").arg(world.path("looks"));

    let (output, ()) = tokio::join!(world.inspect(call), async {
        world.until(|world| !world.read("looks").is_empty()).await;
        world.cut().await;
    });

    assert_eq!(output.unwrap().stdout, "seen\n");
    assert_eq!(world.read("looks"), "look\nlook\n");
}

#[tokio::test]
async fn files_go_there_whole_and_for_their_owner_alone() {
    let world = World::ssh();
    let file = world.path("deep/er/file");
    let contents: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();

    world.connection.write(&file, &contents).await.unwrap();

    assert_eq!(std::fs::read(&file).unwrap(), contents);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(world.connection.exists(&file).await.unwrap() && !world.connection.is_folder(&file).await.unwrap());
    assert!(world.connection.remove_folder(&world.path("deep")).await.unwrap());
    assert!(!world.connection.remove_folder(&world.path("deep")).await.unwrap());
}

#[tokio::test]
async fn a_machine_that_is_slow_to_start_is_waited_for_and_a_stranger_is_not() {
    let world = World::ssh();
    let Connection::Ssh(ssh) = &world.connection else { panic!("it is there") };
    std::fs::write(world.path("refuse"), "ssh: connect to host 192.0.2.7 port 22: Connection refused\n").unwrap();

    let lines = world.lines();
    let (waited, ()) = tokio::join!(ssh.wait_until_reachable(Duration::from_secs(20), &lines, &world.cancel), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        std::fs::remove_file(world.path("refuse")).unwrap();
    });
    ssh.disconnect().await;
    std::fs::write(world.path("refuse"), "Host key verification failed.\n").unwrap();
    let stranger = ssh.wait_until_reachable(Duration::from_secs(20), &world.lines(), &world.cancel).await;

    waited.unwrap();
    assert_eq!(world.said()[0], Line::Progress("instance is running, waiting for ssh, 0 s".to_owned()));
    assert!(matches!(stranger, Err(SshError::HostKeyChanged { .. })));
    assert_eq!(world.read("known_hosts"), "i-1 ssh-ed25519 AAAA\n");
    assert!(world.read("calls").contains("StrictHostKeyChecking=yes"));
}
