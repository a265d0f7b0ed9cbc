//! A PostgreSQL of its own, from the installed binaries; or a database of its own on one that is there.

use std::path::PathBuf;
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
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let mut postgres = Self { url: String::new(), folder, port };
        postgres.start_again().await;
        postgres
    }

    /// Starts it again after [`Postgres::stop`].
    pub(crate) async fn start_again(&mut self) {
        let mut command = script("up");
        let output = command.arg(self.folder.path()).arg(self.port.to_string()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().clone_into(&mut self.url);
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

fn rig(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/rig/postgres", name].iter().collect()
}

#[expect(clippy::disallowed_methods, reason = "the scripts of the test bed")]
fn script(name: &str) -> Command {
    let mut command = Command::new(rig(name));
    command.stdin(Stdio::null()).kill_on_drop(false);
    command
}
