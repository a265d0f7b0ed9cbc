//! What a world keeps when its server is killed, as text: another world is made of it on any machine and any day.
//!
//! What differs from world to world is written as a placeholder: its folder, ports, and the program that works on.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use tokio::process::{Child, Command};

use super::{World, eventually};

/// What outlives a server; all else is made anew for each world.
const KEPT: [&str; 7] = ["clusters", "cloud", "registry", "repositories", "ssh-open", "there", "workspace"];
/// What the next server makes again or has no use for, by a part of the path: the store, whose rows are kept apart, what
/// git has for people, and what is fetched again.
const LEFT_OUT: [&str; 12] = [
    "workspace/store.",
    "workspace/terraform-providers",
    "clone/.git/index",
    "clone/.git/objects",
    "clone/.git/refs",
    "kind.json",
    ".git/hooks",
    ".git/info",
    ".git/logs",
    ".git/description",
    ".git/COMMIT_EDITMSG",
    ".terraform",
];
/// The same by the end: modules and plans of Terraform, and what programs and their supervisors have said.
const LEFT_OUT_ENDS: [&str; 6] = [".tf", ".tfplan", "/out", "/err", "/supervisor", "/follower"];
/// How a file begins that is not text.
const BINARY: &str = "base64:";

/// All but the rows of the store.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// By path; a path that ends with `/` is an empty folder.
    files: BTreeMap<String, String>,
    docker: Value,
    kube: Value,
    aws: Value,
    /// What the killed server has left at work.
    program: Option<Program>,
}

/// A program that works on although its server was killed, with its supervisor; it is held at a point before it has changed
/// anything.
#[derive(Debug, Serialize, Deserialize)]
struct Program {
    argv: Vec<String>,
    environment: BTreeMap<String, String>,
    folder: String,
    stdout: String,
    stderr: String,
}

impl World {
    /// Keeps what is there. The server was killed.
    pub(crate) async fn snapshot(&self, operation: Option<&str>, has_program: bool) -> Snapshot {
        let mut at_work = Vec::new();
        eventually("what follows the programs of the killed server to end", async || {
            at_work = self.at_work();
            at_work.len() == usize::from(has_program)
        })
        .await;
        let mut files = BTreeMap::new();
        for name in KEPT {
            self.keep(name, &mut files);
        }
        // On another machine the records of operations that have ended stay until the machine goes.
        files.retain(|name, _| !name.contains("/operations/op_") || operation.is_some_and(|it| name.contains(it)));
        for text in files.values_mut() {
            for (pid, started, _) in &at_work {
                if let Some(other) = without_numbers(text, &[(pid, "@PID@"), (started, "@STARTED@")]) {
                    *text = other;
                }
            }
        }
        Snapshot {
            files,
            docker: self.docker.state(),
            kube: self.kube.state(),
            aws: self.aws.state(),
            program: at_work.pop().map(|it| it.2),
        }
    }

    /// Makes this world the one that was kept. Its own server is killed; the next one is not started yet. The program that
    /// works on is at the first held point, and stays as long as the value lives.
    pub(crate) async fn restore(&mut self, snapshot: Snapshot, held: &[String]) -> Option<Child> {
        self.server.kill().await;
        fs::remove_dir_all(self.path("workspace")).unwrap();
        for (name, text) in &snapshot.files {
            self.put_file(name, text);
        }
        self.docker.restore(snapshot.docker);
        self.kube.restore(snapshot.kube);
        self.aws.restore(snapshot.aws);
        let program = snapshot.program?;
        let records: Vec<_> = snapshot.files.iter().filter(|it| it.1.contains("@STARTED@")).collect();
        // A supervisor puts itself on record, and starts nothing when there is a record already.
        for (name, _) in &records {
            fs::remove_file(self.path(name)).unwrap();
        }
        let program = self.begin_program(&program);
        self.failpoints.reached(&held[0]).await;
        // Of what ran on this machine the server of version 0.1.0 made the record.
        let pid = program.id().expect("nobody has waited for it");
        let started = stat(pid).expect("it is held").1;
        for (name, text) in records {
            self.put_file(name, &text.replace("@PID@", &pid.to_string()).replace("@STARTED@", &started));
        }
        Some(program)
    }

    /// A text without what is another one in every world.
    pub(crate) fn portable(&self, text: &str) -> String {
        let mut text = text.replace(self.folder.path().to_str().unwrap(), "@WORLD@");
        for (placeholder, port) in self.ports() {
            text = number(&port).replace_all(&text, placeholder).into_owned();
        }
        text
    }

    /// Such a text as it is in this world.
    pub(crate) fn local(&self, text: &str) -> String {
        let text = text.replace("@WORLD@", self.folder.path().to_str().unwrap());
        self.ports().iter().fold(text, |text, (placeholder, port)| text.replace(placeholder, port))
    }

    fn ports(&self) -> [(&'static str, String); 2] {
        let kube = self.kube.endpoint.rsplit_once(':').unwrap().1.to_owned();
        [("@APP_PORT@", self.app_port.to_string()), ("@KUBE_PORT@", kube)]
    }

    fn keep(&self, name: &str, files: &mut BTreeMap<String, String>) {
        let path = self.path(name);
        if LEFT_OUT.iter().any(|it| name.contains(it)) || LEFT_OUT_ENDS.iter().any(|it| name.ends_with(it)) {
            return;
        }
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let text =
                String::from_utf8(bytes).unwrap_or_else(|it| BINARY.to_owned() + &STANDARD.encode(it.as_bytes()));
            files.insert(name.to_owned(), text);
        } else if path.is_dir() {
            let count = files.len();
            for entry in fs::read_dir(path).unwrap() {
                self.keep(&format!("{name}/{}", entry.unwrap().file_name().to_str().unwrap()), files);
            }
            if files.len() == count {
                files.insert(format!("{name}/"), String::new());
            }
        }
    }

    fn put_file(&self, name: &str, text: &str) {
        let path = self.path(name);
        let folder = if name.ends_with('/') { &path } else { path.parent().unwrap() };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).unwrap();
        if !name.ends_with('/') {
            let bytes = text.strip_prefix(BINARY).map_or_else(|| text.into(), |it| STANDARD.decode(it).unwrap());
            let mut options = OpenOptions::new();
            let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(path).unwrap();
            file.write_all(&bytes).unwrap();
        }
    }

    /// The processes of this world that lead a group of their own, each with its process id and its start.
    fn at_work(&self) -> Vec<(String, String, Program)> {
        let processes = fs::read_dir("/proc").unwrap().filter_map(|it| it.unwrap().file_name().to_str()?.parse().ok());
        processes.filter_map(|pid: u32| self.program(pid)).collect()
    }

    fn program(&self, pid: u32) -> Option<(String, String, Program)> {
        let at = |name: &str| Path::new("/proc").join(pid.to_string()).join(name);
        let words = |name: &str| -> Option<Vec<String>> {
            let text = self.portable(&String::from_utf8_lossy(&fs::read(at(name)).ok()?));
            Some(text.split_terminator('\0').map(str::to_owned).collect())
        };
        let path = |name: &str| fs::read_link(at(name)).map(|it| self.portable(it.to_str().unwrap()));
        let argv = words("cmdline")?;
        let (leads_group, started) = stat(pid)?;
        if !leads_group || argv.iter().all(|it| !it.contains("@WORLD@")) {
            return None;
        }
        let variables = words("environ")?.into_iter().filter_map(|it| {
            let (name, value) = it.split_once('=')?;
            name.starts_with("HELM_KUBE").then(|| (name.to_owned(), value.to_owned()))
        });
        let program = Program {
            argv,
            environment: variables.collect(),
            folder: path("cwd").ok()?,
            stdout: path("fd/1").ok()?,
            stderr: path("fd/2").ok()?,
        };
        Some((pid.to_string(), started, program))
    }

    #[expect(clippy::disallowed_methods, reason = "it stands for what an earlier server has started")]
    fn begin_program(&self, program: &Program) -> Child {
        let open = |path: &str| Stdio::from(File::options().create(true).append(true).open(path).unwrap());
        let path = format!("{0}/bin/there:{0}/bin:{1}", self.folder.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(&program.argv[0]);
        command.args(&program.argv[1..]).current_dir(&program.folder).process_group(0).kill_on_drop(true);
        command.env_clear().envs(&program.environment).env("PATH", path);
        command.stdin(Stdio::null()).stdout(open(&program.stdout)).stderr(open(&program.stderr));
        command.spawn().unwrap()
    }

    /// The rows of the store as statements that both databases understand, in the order of its tables.
    pub(crate) async fn rows_as_sql(&self) -> String {
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' ORDER BY rowid";
        let mut statements = Vec::new();
        for table in self.texts(tables).await {
            let columns = self.texts(&format!("SELECT name FROM pragma_table_info('{table}')")).await;
            let values: Vec<String> = columns.iter().map(|it| format!("quote({it})")).collect();
            let values = values.join(" || ', ' || ");
            let rows = self.texts(&format!("SELECT '(' || {values} || ')' FROM {table} ORDER BY rowid")).await;
            if !rows.is_empty() {
                let (columns, rows) = (columns.join(", "), rows.join(",\n"));
                // A migration may have put rows of its own there.
                statements.push(format!("DELETE FROM {table};\nINSERT INTO {table} ({columns}) VALUES\n{rows};"));
            }
        }
        statements.join("\n") + "\n"
    }

    /// Makes a store as an earlier version would have made it, in place of that of the killed server.
    pub(crate) async fn put_store(&self, migrations: &Path, rows: &str) {
        let url = match &self.postgres {
            Some(postgres) => postgres.url.clone(),
            None => format!("{}?mode=rwc", self.database_url()),
        };
        let mut connection = AnyConnection::connect(&url).await.unwrap();
        if self.postgres.is_some() {
            let empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
            sqlx::raw_sql(empty).execute(&mut connection).await.unwrap();
        }
        Migrator::new(migrations).await.unwrap().run(&mut connection).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(rows.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// The number when it stands alone.
fn number(text: &str) -> Regex {
    Regex::new(&format!(r"\b{text}\b")).unwrap()
}

/// A text in which all of these numbers stand, without them.
fn without_numbers(text: &str, numbers: &[(&String, &'static str)]) -> Option<String> {
    numbers.iter().try_fold(text.to_owned(), |text, (digits, placeholder)| {
        let number = number(digits);
        number.is_match(&text).then(|| number.replace_all(&text, *placeholder).into_owned())
    })
}

/// Whether a living process leads its group, and when it was started, as proc(5) tells.
fn stat(pid: u32) -> Option<(bool, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let is_alive = !matches!(*fields.first()?, "Z" | "X");
    is_alive.then(|| (fields[2] == pid.to_string(), fields[19].to_owned()))
}
