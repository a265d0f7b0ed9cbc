//! A PostgreSQL of its own, from the installed binaries.

use std::path::PathBuf;
use std::process::Stdio;

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
