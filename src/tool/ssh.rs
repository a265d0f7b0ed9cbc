//! Ssh: one multiplexed connection per machine, over which programs run and sockets are reached.
//!
//! OpenSSH does the work. Its master runs in the foreground with a first program that ends when our side of its input
//! closes: a server that is killed leaves no master behind. The person's own ssh configuration and agent are not asked:
//! which key and which host key are used is decided here alone.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::event::Lines;
use crate::tool::error::ToolError;
use crate::tool::folder;
use crate::tool::process::{self, InheritedEnv};

mod address;
pub(super) mod error;
pub mod forward;

pub use crate::tool::ssh::address::{SshAddress, pinned_host_keys};
pub use crate::tool::ssh::error::SshError;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a key may be refused by a machine that is just starting: its user may not be there yet.
const USER_GRACE: Duration = Duration::from_secs(45);
/// Pause between two attempts.
const POLL_INTERVAL: Duration = Duration::from_millis(300);
/// How many programs run over one connection at the same time. OpenSSH's servers allow ten.
const MAX_SESSIONS: usize = 8;
/// The longest folder for sockets: a socket's path has room for some hundred bytes, and ssh adds to its name.
const MAX_SOCKETS_FOLDER_BYTES: usize = 60;
/// How folders for sockets begin; the process that made one follows.
const SOCKETS_PREFIX: &str = "odi-";

/// The fixed first program of a connection.
const HANDSHAKE: &str = include_str!("script/handshake.sh");

/// A machine that is reached by ssh. Connects when it is needed, and again when the connection is broken. Cheap to clone.
#[derive(Clone)]
pub struct Ssh(Arc<SshState>);

struct SshState {
    program: PathBuf,
    address: SshAddress,
    sockets: TempDir,
    current: Mutex<Option<Arc<ControlMaster>>>,
    sessions: Semaphore,
    count: AtomicU64,
}

impl fmt::Debug for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ssh").field("address", &self.0.address).finish_non_exhaustive()
    }
}

/// One connection for as long as it holds.
pub(super) struct ControlMaster {
    control: PathBuf,
    docker: PathBuf,
    home: PathBuf,
    ended: CancellationToken,
    ports: Mutex<HashSet<u16>>,
    /// The master ends when this closes.
    _stdin: ChildStdin,
    _master: AbortOnDropHandle<()>,
}

/// A turn on a connection: room for one more program.
pub(super) struct Session<'a> {
    pub(super) master: Arc<ControlMaster>,
    _turn: SemaphorePermit<'a>,
}

impl Ssh {
    /// Names a machine; nothing connects yet. `program` is OpenSSH's client.
    ///
    /// # Errors
    /// [`SshError::Files`] when there is no place for sockets.
    pub fn new(program: &Path, address: SshAddress) -> Result<Self, SshError> {
        static SWEEP: Once = Once::new();
        let usual = std::env::temp_dir();
        let short = usual.as_os_str().len() <= MAX_SOCKETS_FOLDER_BYTES;
        let base = if short { usual } else { PathBuf::from("/tmp") };
        SWEEP.call_once(|| remove_stale_sockets(&base));
        let prefix = format!("{SOCKETS_PREFIX}{}-", std::process::id());
        let sockets = tempfile::Builder::new().prefix(&prefix).tempdir_in(base).map_err(SshError::Files)?;
        Ok(Self(Arc::new(SshState {
            program: program.to_owned(),
            address,
            sockets,
            current: Mutex::default(),
            sessions: Semaphore::new(MAX_SESSIONS),
            count: AtomicU64::new(0),
        })))
    }

    /// How the machine is reached.
    #[must_use]
    pub fn address(&self) -> &SshAddress {
        &self.0.address
    }

    /// The home of the user on the other machine. Connects.
    ///
    /// # Errors
    /// [`SshError`] says why there is no connection.
    pub async fn home(&self) -> Result<PathBuf, SshError> {
        Ok(self.master().await?.home.clone())
    }

    /// Waits until the machine answers, and says that it does so.
    ///
    /// # Errors
    /// [`SshError`] when it does not within `limit`, or will not.
    pub async fn wait_until_reachable(
        &self,
        limit: Duration,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), SshError> {
        let start = Instant::now();
        loop {
            let waited = start.elapsed();
            lines.progress(format!("instance is running, waiting for ssh, {} s", waited.as_secs()));
            let error = tokio::select! {
                master = self.master() => match master {
                    Ok(_) => return Ok(()),
                    Err(error) => error,
                },
                () = cancel.cancelled() => return Err(SshError::Cancelled),
            };
            let is_early = matches!(error, SshError::PermissionDenied { .. }) && waited < USER_GRACE;
            if !(error.is_transient() || is_early) || start.elapsed() >= limit {
                return Err(error);
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => (),
                () = cancel.cancelled() => return Err(SshError::Cancelled),
            }
        }
    }

    /// Connects again within a time, after the connection broke.
    pub(super) async fn reconnect(
        &self,
        limit: Duration,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), SshError> {
        let start = Instant::now();
        loop {
            let error = tokio::select! {
                master = self.master() => match master {
                    Ok(_) => return Ok(()),
                    Err(error) => error,
                },
                () = cancel.cancelled() => return Err(SshError::Cancelled),
            };
            if !error.is_transient() || start.elapsed() >= limit {
                return Err(error);
            }
            let waited_s = start.elapsed().as_secs();
            lines.progress(format!("the connection to {} is lost, trying again, {waited_s} s", self.0.address));
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => (),
                () = cancel.cancelled() => return Err(SshError::Cancelled),
            }
        }
    }

    /// Gives the connection up, so that the next use logs in anew: with the groups that the user has by then.
    pub async fn disconnect(&self) {
        *self.0.current.lock().await = None;
    }

    /// The connection that holds, or a new one.
    pub(super) async fn master(&self) -> Result<Arc<ControlMaster>, SshError> {
        let mut current = self.0.current.lock().await;
        if let Some(master) = current.as_ref().filter(|it| !it.ended.is_cancelled()) {
            return Ok(Arc::clone(master));
        }
        *current = None;
        let master = Arc::new(self.open().await?);
        *current = Some(Arc::clone(&master));
        Ok(master)
    }

    /// The connection, with room for one more program on it.
    pub(super) async fn session(&self) -> Result<Session<'_>, SshError> {
        let turn = self.0.sessions.acquire().await.expect("nobody closes it");
        Ok(Session { master: self.master().await?, _turn: turn })
    }

    async fn open(&self) -> Result<ControlMaster, SshError> {
        let address = &self.0.address;
        let is_pinned = self.pin_host_keys().await.map_err(SshError::Files)?;
        let number = self.0.count.fetch_add(1, Ordering::Relaxed);
        let folder = self.0.sockets.path();
        let (control, docker) = (folder.join(format!("m{number}")), folder.join(format!("d{number}")));
        let strict = if is_pinned { "yes" } else { "accept-new" };
        let mut command = self.command();
        command
            .args(["-M", "-o", "ControlPersist=no", "-o", &format!("StrictHostKeyChecking={strict}"), "-S"])
            .arg(&control)
            .arg("-L")
            .arg(with_suffix(&docker, ":/var/run/docker.sock"))
            .arg(address.address.to_string())
            .arg(remote_command_line(HANDSHAKE, "handshake", [] as [&str; 0]))
            .stdin(Stdio::piped());
        let mut child = process::spawn(command, "ssh").map_err(|error| self.not_started(error))?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(SshError::Files(io::Error::other("ssh has no pipes")));
        };
        let mut stdout = BufReader::new(stdout);
        let mut home = String::new();
        let said = tokio::time::timeout(CONNECT_TIMEOUT, stdout.read_line(&mut home)).await;
        if said.is_err() || !home.starts_with('/') {
            let _ = child.start_kill();
            let mut printed = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(2), stderr.read_to_end(&mut printed)).await;
            let mut lines: Vec<String> = String::from_utf8_lossy(&printed).lines().map(str::to_owned).collect();
            if said.is_err() {
                lines.push(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()));
            }
            return Err(SshError::from_connect(address, &lines));
        }
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let master = tokio::spawn(async move {
            let _guard = guard;
            // Its pipes are read to their ends: a master whose output nobody reads would stop.
            let mut sink = tokio::io::sink();
            let errors = tokio::io::copy(&mut stderr, &mut sink);
            let mut sink = tokio::io::sink();
            let _ = tokio::join!(child.wait(), tokio::io::copy(&mut stdout, &mut sink), errors);
        });
        Ok(ControlMaster {
            control,
            docker,
            home: PathBuf::from(home.trim_end()),
            ended,
            ports: Mutex::default(),
            _stdin: stdin,
            _master: AbortOnDropHandle::new(master),
        })
    }

    /// Writes the host keys that are known; tells whether the machine's key is on record.
    async fn pin_host_keys(&self) -> io::Result<bool> {
        let address = &self.0.address;
        let file = &address.known_hosts;
        let known = match tokio::fs::read_to_string(file).await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let name = address.alias.as_str();
        if known.lines().any(|line| line.split(' ').next().is_some_and(|names| names.split(',').any(|it| it == name))) {
            return Ok(true);
        }
        if let Some(above) = file.parent() {
            folder::make_private(above)?;
        }
        let lines: String = address.host_keys.iter().map(|key| format!("{name} {}\n", key.trim())).collect();
        tokio::fs::write(file, known + &lines).await?;
        Ok(!address.host_keys.is_empty())
    }

    /// A command of ssh with what holds for all of them.
    fn command(&self) -> Command {
        let address = &self.0.address;
        let known_hosts = format!("UserKnownHostsFile=\"{}\"", quote_option(&address.known_hosts));
        let mut command = process::command(&self.0.program, &InheritedEnv::default());
        command.env("LC_ALL", "C").args(["-F", "none", "-T"]);
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "PreferredAuthentications=publickey",
            "CheckHostIP=no",
            "GlobalKnownHostsFile=/dev/null",
            "HashKnownHosts=no",
            "UpdateHostKeys=no",
            "ConnectTimeout=10",
            "ServerAliveInterval=5",
            "ServerAliveCountMax=3",
            "ForwardAgent=no",
            "PermitLocalCommand=no",
            "StreamLocalBindUnlink=yes",
            "LogLevel=ERROR",
            known_hosts.as_str(),
            &format!("HostKeyAlias={}", address.alias),
        ] {
            command.args(["-o", option]);
        }
        command.arg("-i").arg(&address.private_key).args(["-l", &address.user, "-p", &address.port.to_string()]);
        command
    }

    /// A command of ssh that runs a fixed script with these words over a master that is there.
    pub(super) fn remote_command<W: AsRef<str>>(
        &self,
        master: &ControlMaster,
        script: &str,
        name: &str,
        words: impl IntoIterator<Item = W>,
    ) -> Command {
        let mut command = self.multiplexed_command(master);
        command.arg(self.0.address.address.to_string()).arg(remote_command_line(script, name, words));
        command
    }

    /// Without the master ssh would connect by itself, and nobody would see that it is gone. It is quiet: what comes on
    /// standard error is the program's.
    fn multiplexed_command(&self, master: &ControlMaster) -> Command {
        let mut command = self.command();
        command.args(["-q", "-o", "ControlMaster=no", "-o", "ProxyCommand=false", "-S"]).arg(&master.control);
        command
    }

    /// What it means that ssh itself failed.
    pub(super) fn connection_lost(&self, lines: &[String]) -> SshError {
        let reason = lines.iter().rev().find(|line| !line.trim().is_empty()).cloned().unwrap_or_default();
        SshError::ConnectionLost { address: self.0.address.to_string(), reason }
    }

    fn not_started(&self, error: ToolError) -> SshError {
        let source = if let ToolError::NotRunnable { source, .. } = error {
            source
        } else {
            io::Error::other(error.to_string())
        };
        SshError::NotRunnable { program: self.0.program.display().to_string(), source }
    }
}

impl ControlMaster {
    /// Waits a moment for the end of the connection, and says whether it has come.
    pub(super) async fn has_ended(&self) -> bool {
        tokio::time::timeout(Duration::from_secs(1), self.ended.cancelled()).await.is_ok()
    }
}

/// Removes the folders for sockets of servers that were killed.
fn remove_stale_sockets(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process =
            name.to_str().and_then(|name| name.strip_prefix(SOCKETS_PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            // What belongs to somebody else stays.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The command line of a fixed program with these words: the other side's shell sees every word quoted.
fn remote_command_line<W: AsRef<str>>(script: &str, name: &str, arguments: impl IntoIterator<Item = W>) -> String {
    let quote = |word: &str| {
        // No program can be given a word with a zero byte; what has one is not handed on.
        shlex::Quoter::new()
            .allow_nul(true)
            .quote(&word.replace('\0', ""))
            .expect("all else can be quoted")
            .into_owned()
    };
    let arguments: String = arguments.into_iter().map(|word| format!(" {}", quote(word.as_ref()))).collect();
    format!("exec sh -c {} {}{arguments}", quote(script), quote(name))
}

/// A path inside an option in double quotes, where `%` begins a token.
fn quote_option(path: &Path) -> String {
    path.display().to_string().replace('%', "%%").replace('\\', "\\\\").replace('"', "\\\"")
}

fn with_suffix(path: &Path, rest: &str) -> OsString {
    let mut joined = path.as_os_str().to_owned();
    joined.push(rest);
    joined
}
