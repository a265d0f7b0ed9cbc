//! Programs "there" are on this machine, behind an ssh that is a script: it runs what it is told, and can be cut off.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use secrecy::SecretString;
use tempfile::TempDir;

use super::*;
use crate::event::Line;
use crate::tool::connection::Connection;
use crate::tool::ssh::SshAddress;

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
}

impl World {
    fn new() -> Self {
        // Like a process 1 that waits for nobody: who has ended there stays as a zombie.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("ssh");
        std::fs::write(&program, SSH.replace("@WORLD@", &folder.path().display().to_string())).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["home", "alive"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let address = SshAddress {
            address: "192.0.2.7".parse().unwrap(),
            port: 22,
            user: "ubuntu".to_owned(),
            private_key: "/keys/mine.pem".into(),
            known_hosts: folder.path().join("known_hosts"),
            alias: "i-1".to_owned(),
            host_keys: vec!["ssh-ed25519 AAAA".to_owned()],
        };
        let connection = Connection::Ssh(Ssh::new(&program, address).unwrap());
        Self { folder, connection, said: Arc::default(), cancel: CancellationToken::new() }
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

    fn shell(&self, script: &str) -> Call {
        self.connection.call("sh").args(["-c", script])
    }

    async fn look(&self, call: Call) -> Result<Output, ToolError> {
        call.run(&self.lines(), &self.cancel).await
    }

    async fn work(&self, call: Call) -> Result<Output, ToolError> {
        call.run_durably(&self.path("calls of a step"), "call", &self.lines(), &self.cancel).await
    }

    async fn await_orphans(&self, limit: Duration) {
        let folder = self.path("calls of a step");
        self.connection.await_orphans(&folder, limit, &self.lines(), &self.cancel).await.unwrap();
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

#[tokio::test]
async fn words_stay_words_whatever_is_in_them() {
    let world = World::new();
    let words = ["a b", "$(id)", "it's", "-n", "", "*", "two\nlines", "\\", "\"q\""];

    let looked = world.look(world.connection.call("printf").arg("<%s>").args(words)).await.unwrap();
    let worked = world.work(world.connection.call("printf").arg("<%s>").args(words)).await.unwrap();

    let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
    assert_eq!((looked.stdout, worked.stdout), (expected.clone(), expected));
}

#[tokio::test]
async fn output_status_and_directory_are_those_of_the_program() {
    let world = World::new();
    let script = "pwd; echo one >&2; printf two >&2; exit 3";

    for error in [
        world.look(world.shell(script).directory(world.path(""))).await.unwrap_err(),
        world.work(world.shell(script).directory(world.path(""))).await.unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "`sh` ended with exit code 3: two");
        assert_eq!(error.lines(), ["one", "two"]);
    }
    assert_eq!(world.said(), ["one", "two", "one", "two"].map(|it| Line::Output(it.to_owned())));
}

#[tokio::test]
async fn a_secret_goes_through_the_input_alone_and_is_in_no_line() {
    let world = World::new();
    let secret = SecretString::from("s3cr3t' $(id)");
    let script = "[ \"$TOKEN\" = \"s3cr3t' \\$(id)\" ] && echo \"it is $TOKEN\" >&2";

    let looked = world.look(world.shell(script).secret_env("TOKEN", &secret)).await.unwrap();
    let worked = world.work(world.shell(script).secret_env("TOKEN", &secret)).await.unwrap();

    assert!(!format!("{looked:?}{worked:?}{:?}{}", world.said(), world.read("calls")).contains("s3cr3t' $(id)"));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_from_one_that_ends_with_127() {
    let world = World::new();

    for error in [
        world.look(world.connection.call("no-such-program")).await.unwrap_err(),
        world.work(world.connection.call("no-such-program")).await.unwrap_err(),
    ] {
        assert!(matches!(error, ToolError::NotRunnable { .. }), "{error:?}");
    }
    let error = world.work(world.shell("exit 127")).await.unwrap_err();
    assert!(matches!(error, ToolError::Failed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_drops_loses_no_line_and_starts_nothing_twice() {
    let world = World::new();
    let script = "echo begun >>\"$0\"; for i in 1 2 3 4 5 6 7 8; do echo line $i >&2; sleep 0.2; done; echo done";

    let (output, ()) = tokio::join!(world.work(world.shell(script).arg(world.path("begun"))), async {
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
    let world = World::new();
    let call = world.shell("echo look >>\"$0\"; sleep 1; echo seen").arg(world.path("looks"));

    let (output, ()) = tokio::join!(world.look(call), async {
        world.until(|world| !world.read("looks").is_empty()).await;
        world.cut().await;
    });

    assert_eq!(output.unwrap().stdout, "seen\n");
    assert_eq!(world.read("looks"), "look\nlook\n");
}

#[tokio::test]
async fn a_program_goes_on_without_us_and_settle_waits_for_it() {
    let world = World::new();
    let (begun, done) = (world.path("begun"), world.path("done"));
    tokio::select! {
        _ = world.work(world.shell("touch \"$0\"; sleep 1; echo over >\"$1\"").arg(&begun).arg(&done)) => (),
        () = world.until(|_| begun.exists()) => (),
    }

    assert!(!done.exists());
    world.await_orphans(Duration::from_secs(30)).await;

    assert_eq!(world.read("done"), "over\n");
}

#[tokio::test]
async fn settle_interrupts_what_does_not_end_in_time() {
    let world = World::new();
    let begun = world.path("begun");
    let script = "trap 'echo interrupted >\"$0\"; exit 1' INT; touch \"$0\"; sleep 60 & wait";
    tokio::select! {
        _ = world.work(world.shell(script).arg(&begun)) => (),
        () = world.until(|_| begun.exists()) => (),
    }

    world.await_orphans(Duration::from_millis(50)).await;

    assert_eq!(world.read("begun"), "interrupted\n");
}

#[tokio::test]
async fn a_cancelled_or_late_program_is_interrupted() {
    let world = World::new();
    let begun = world.path("begun");

    let late = world.work(world.shell("echo started >&2; sleep 60").timeout(Duration::from_millis(800))).await;
    let script = "trap 'echo interrupted >\"$0\"; exit 1' INT; touch \"$0\"; sleep 60 & wait";
    let (cancelled, ()) = tokio::join!(world.work(world.shell(script).arg(&begun)), async {
        world.until(|_| begun.exists()).await;
        world.cancel.cancel();
    });

    assert!(matches!(&late, Err(ToolError::TimedOut { lines, .. }) if lines == &["started"]), "{late:?}");
    assert!(matches!(cancelled, Err(ToolError::Cancelled { .. })));
    assert_eq!(world.read("begun"), "interrupted\n");
}

#[tokio::test]
async fn a_program_that_is_gone_with_its_keeper_may_be_tried_again() {
    let world = World::new();

    let error = world.work(world.shell("sleep 0.3; kill -9 0")).await.unwrap_err();

    assert_eq!(error.to_string(), "`sh` is gone without having ended; was the machine restarted?");
    assert!(error.is_transient());
}

#[tokio::test]
async fn files_go_there_whole_and_for_their_owner_alone() {
    let world = World::new();
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
    let world = World::new();
    let Connection::Ssh(ssh) = &world.connection else { panic!("it is there") };
    std::fs::write(world.path("refuse"), "ssh: connect to host 192.0.2.7 port 22: Connection refused\n").unwrap();

    let lines = world.lines();
    let (waited, ()) = tokio::join!(ssh.wait(Duration::from_secs(20), &lines, &world.cancel), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        std::fs::remove_file(world.path("refuse")).unwrap();
    });
    ssh.disconnect().await;
    std::fs::write(world.path("refuse"), "Host key verification failed.\n").unwrap();
    let stranger = ssh.wait(Duration::from_secs(20), &world.lines(), &world.cancel).await;

    waited.unwrap();
    assert_eq!(world.said()[0], Line::Progress("instance is running, waiting for ssh, 0 s".to_owned()));
    assert!(matches!(stranger, Err(SshError::HostKeyChanged { .. })));
    assert_eq!(world.read("known_hosts"), "i-1 ssh-ed25519 AAAA\n");
    assert!(world.read("calls").contains("StrictHostKeyChecking=yes"));
}
