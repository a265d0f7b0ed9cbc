//! A PostgreSQL of its own, from the installed binaries; or a database of its own on one that is there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sqlx::{AnyConnection, Connection};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

/// A PostgreSQL server; it is stopped with this value.
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) url: String,
    folder: TempDir,
    port: u16,
}

impl Postgres {
    /// Starts one on a free port.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Whoever asks for any port meanwhile, also for a connection of its own, may be given the one that was free.
        let mut said = String::new();
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
            match up(folder.path(), port).await {
                Ok(url) => return Self { url, folder, port },
                Err(error) => said = error,
            }
        }
        panic!("{said}");
    }

    /// Starts it again after [`Postgres::stop`].
    pub(crate) async fn start_again(&mut self) {
        self.url = up(self.folder.path(), self.port).await.unwrap();
    }

    /// Stops it, as an operator would.
    pub(crate) async fn stop(&self) {
        assert!(script("down").arg(self.folder.path()).status().await.unwrap().success());
    }
}

/// A database on the server of `TEST_DATABASE_URL`; it is dropped with this value.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) url: String,
    server: String,
    name: String,
}

impl Database {
    /// Makes one; `None` when there is no such server.
    pub(crate) async fn create() -> Option<Self> {
        let Ok(server) = std::env::var("TEST_DATABASE_URL") else {
            println!("`TEST_DATABASE_URL` names no PostgreSQL, so there is nothing to see here");
            return None;
        };
        let name = format!("it_{}", uuid::Uuid::now_v7().simple());
        let mut url = url::Url::parse(&server).unwrap();
        url.set_path(&name);
        execute(&server, format!("CREATE DATABASE {name}")).await;
        Some(Self { url: url.into(), server, name })
    }

    /// Writes all of it into a file, whoever works on it meanwhile.
    pub(super) async fn dump(&self, file: &Path) {
        let mut command = program("pg_dump");
        command.args(["--format=custom", "--no-owner", "--file"]).arg(file).arg(&self.url);
        assert!(command.status().await.unwrap().success());
    }

    /// Fills it, which is empty, from such a file.
    pub(super) async fn restore(&self, file: &Path) {
        let mut command = program("pg_restore");
        command.args(["--no-owner", "--exit-on-error", "--dbname"]).arg(&self.url).arg(file);
        assert!(command.status().await.unwrap().success());
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, statement) = (self.server.clone(), format!("DROP DATABASE {} WITH (FORCE)", self.name));
        // Dropping cannot wait for another future on this thread.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(execute(&server, statement));
        });
        let _ = dropping.join();
    }
}

async fn execute(server: &str, statement: String) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(server).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
}

impl Drop for Postgres {
    #[expect(clippy::disallowed_methods, reason = "dropping cannot wait for another program")]
    fn drop(&mut self) {
        let program = rig("down");
        let _ = std::process::Command::new(program).arg(self.folder.path()).stdout(Stdio::null()).status();
    }
}

/// Starts the server in a folder; gives its URL, or what was printed when it does not start.
async fn up(folder: &Path, port: u16) -> Result<String, String> {
    let output = script("up").arg(folder).arg(port.to_string()).output().await.unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

fn rig(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/rig/postgres", name].iter().collect()
}

fn script(name: &str) -> Command {
    program(rig(name))
}

#[expect(clippy::disallowed_methods, reason = "the scripts of the test bed, and PostgreSQL's own programs")]
fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null()).kill_on_drop(false);
    command
}
