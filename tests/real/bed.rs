//! The bed of the real stories: what must be there, and a janitor that clears away also when the tests are killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

/// All clusters of these tests begin so; what else begins so is taken for a left-over of an earlier run.
pub(crate) const PREFIX: &str = "real-";

/// What every story finds.
pub(crate) struct Bed {
    /// Where the example repositories are served.
    pub(crate) git_base: String,
    /// The token for the private one.
    pub(crate) git_token: String,
    /// Where servers, repositories and what they said are kept.
    pub(crate) root: PathBuf,
    #[expect(dead_code, reason = "it sees the end of this process by the end of its input")]
    janitor: Child,
}

static BED: LazyLock<Bed> = LazyLock::new(Bed::make);

/// The bed; fails the test with what is missing.
pub(crate) fn bed() -> &'static Bed {
    &BED
}

impl Bed {
    fn make() -> Self {
        for (program, arguments, part) in [
            ("docker", &["version"][..], "docker"),
            ("kind", &["version"], "kind"),
            ("kubectl", &["version", "--client"], "kind"),
            ("git", &["--version"], "apps"),
        ] {
            let found = Command::new(program).args(arguments).output();
            let works = found.as_ref().is_ok_and(|output| output.status.success());
            assert!(works, "`{program}` does not work ({found:?}): {}", how_to_get(part));
        }
        let node = variable("KIND_NODE_IMAGE", "kind");
        for (image, part) in [(node.as_str(), "kind"), ("busybox:stable", "images"), ("python:3.12-slim", "images")] {
            let found = run("docker", &["image", "inspect", "--format", "{{.Id}}", image]);
            assert!(found.status.success(), "Docker has no image `{image}`: {}", how_to_get(part));
        }
        let git_base = variable("GIT_BASE", "apps");
        variable("GIT_SSL_CAINFO", "apps");
        let served = run("git", &["ls-remote", &format!("{git_base}/go-hello.git"), "next"]);
        assert!(served.status.success(), "`{git_base}` serves no repositories: {}", how_to_get("apps"));
        let token = variable("GIT_TOKEN_FILE", "apps");
        let token = fs::read_to_string(&token).unwrap_or_else(|error| panic!("`{token}` cannot be read: {error}"));

        // A run of its own beside another one, of stories that make no clusters here.
        let lane = std::env::var("REAL_LANE").map_or_else(|_| String::new(), |lane| format!("{lane}-"));
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("real-{lane}").trim_end_matches('-'));
        let janitor = janitor(&root, &format!("{PREFIX}{lane}"));
        Self { git_base, git_token: token.trim().to_owned(), root, janitor }
    }

    /// The address of an example repository.
    pub(crate) fn repository(&self, name: &str) -> String {
        format!("{}/{name}.git", self.git_base)
    }

    /// The file whose presence tells the janitor that the account was used.
    pub(crate) fn account_mark(&self) -> PathBuf {
        self.root.join("account")
    }
}

/// Kills the servers whose workspaces are below a folder, and the programs that they started, which outlive them: they
/// have the server's settings in their environment. usage: end FOLDER
const END: &str = r#"
end() {
  while pids=$(grep -lsF "PERSISTENT_WORKSPACE_BASE_DIR=$1/" /proc/[0-9]*/environ | cut -d / -f 3) && [ -n "$pids" ]; do
    kill -9 $pids 2>/dev/null
    sleep 0.05
  done
}
"#;

/// Kills the servers whose workspaces are below a folder, and the programs that they started.
pub(crate) fn end_servers(folder: &Path) {
    must("sh", &["-c", &format!("{END}\nend \"$1\""), "end", folder.to_str().unwrap()]);
}

/// Starts a process that holds the one lock of these tests, removes left-overs now, and again when this process is gone,
/// however it ended. It waits for the janitor of an earlier run.
fn janitor(root: &Path, prefix: &str) -> Child {
    let clear = format!(
        r#"end "$1"; for it in $(kind get clusters -q | grep '^{prefix}'); do kind delete cluster -q --name $it; done"#
    );
    let reset = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rig/aws/reset");
    let script = format!(
        r#"{END}
        {clear}; rm -rf "$1"; mkdir -p "$1"; echo ready; exec >/dev/null
        cat
        {clear}
        [ ! -e "$1/account" ] || '{reset}'
        rm -rf "$1/kubeconfig" "$1/account""#
    );
    let lock = root.with_extension("lock");
    let mut child = Command::new("flock")
        .arg(lock)
        .args(["sh", "-c", &script, "janitor"])
        .arg(root)
        .env("KUBECONFIG", root.join("kubeconfig"))
        .env("TIDIES_UP", "1") // tests/reaper leaves it alone
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("`flock` and `sh` are on every machine with a shell");
    let mut ready = String::new();
    BufReader::new(child.stdout.take().expect("it was started with a pipe")).read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n", "the janitor of the real tests did not start");
    child
}

/// Runs a program to its end.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("`{program}` cannot be run: {error}"))
}

/// Runs a program that has to succeed, and gives what it printed.
pub(crate) fn must(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{program} {}` failed: {printed}{said}", arguments.join(" "));
    printed
}

pub(crate) fn variable(name: &str, part: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("`{name}` is not set: {}", how_to_get(part)))
}

fn how_to_get(part: &str) -> String {
    format!(
        "the part `{part}` of the test bed is missing; `make test` brings it up, or `. \"$(tests/rig/up docker tools kind images apps)\"`"
    )
}

/// What a page's container runs.
pub(crate) const SERVES: &str = r#"["httpd", "-f", "-vv", "-p", "8080", "-h", "/www"]"#;
/// The same; it ends at once when it is told to.
pub(crate) const ENDS_AT_ONCE: &str = r#"["sh", "-c", "trap 'exit 0' TERM; httpd -f -vv -p 8080 -h /www & wait"]"#;
/// What ends at once.
pub(crate) const CRASHES: &str = r#"["sh", "-c", "echo no disk; exit 3"]"#;

/// A Dockerfile for a page, with this command.
pub(crate) fn dockerfile(command: &str) -> String {
    format!("FROM busybox:stable\nCOPY www /www\nUSER 1000\nEXPOSE 8080\nCMD {command}\n")
}

/// A repository of a test's own, so that its commits (and so its images) are nobody else's.
pub(crate) struct Repository {
    work: PathBuf,
}

impl Repository {
    /// A page on busybox that says `version 1`.
    pub(crate) fn page(name: &str) -> Self {
        let work = bed().root.join("repositories").join(name);
        fs::create_dir_all(&work).unwrap();
        let repository = Self { work };
        must("git", &["init", "-q", "-b", "main", &repository.path()]);
        repository.commit(&[
            ("Dockerfile", &dockerfile(SERVES)),
            ("www/index.html", "version 1\n"),
            ("www/seed.txt", &format!("{:?}\n", std::time::SystemTime::now())),
        ]);
        repository
    }

    /// One with the files of a directory.
    pub(crate) fn of(name: &str, files: &Path) -> Self {
        let work = bed().root.join("repositories").join(name);
        fs::create_dir_all(&work).unwrap();
        let repository = Self { work };
        must("git", &["init", "-q", "-b", "main", &repository.path()]);
        must("cp", &["-r", &format!("{}/.", files.display()), &repository.path()]);
        repository.commit(&[("seed.txt", &format!("{:?}\n", std::time::SystemTime::now()))]);
        repository
    }

    /// Commits files and tells the commit.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.work.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let work = self.path();
        must("git", &["-C", &work, "add", "-A"]);
        must(
            "git",
            &["-C", &work, "-c", "user.name=Real", "-c", "user.email=real@example.com", "commit", "-q", "-m", "Change"],
        );
        must("git", &["-C", &work, "rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Commits another repository's commit as the directory `path`.
    pub(crate) fn commit_submodule(&self, path: &str, url: &str, commit: &str) {
        let work = self.path();
        let modules = format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n");
        fs::write(self.work.join(".gitmodules"), modules).unwrap();
        must("git", &["-C", &work, "add", ".gitmodules"]);
        must("git", &["-C", &work, "update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
        let author = ["-c", "user.name=Real", "-c", "user.email=real@example.com"];
        must("git", &[&["-C", &work][..], &author, &["commit", "-q", "-m", "Change the submodule"]].concat());
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("file://{}/.git", self.path())
    }

    fn path(&self) -> String {
        self.work.to_str().unwrap().to_owned()
    }
}
