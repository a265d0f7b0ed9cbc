//! Sockets here whose connections end on the other machine: each is made over the master that holds then, so the
//! clients behind them need not know that one broke.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::event::Lines;
use crate::secret::Redactor;
use crate::tool::process::{self, GRACE, LAST_LINES, RunOptions, Status};
use crate::tool::ssh::{ControlMaster, Ssh, SshError, with_suffix};

/// How long asking the master for a socket may take.
const FORWARD_TIMEOUT: Duration = Duration::from_mins(1);

/// A socket here whose connections end on the other machine, for as long as it lives.
#[derive(Debug)]
pub struct ForwardedSocket<A> {
    /// Where it listens.
    pub at: A,
    _listening: AbortOnDropHandle<()>,
}

/// What a master leads to.
#[derive(Debug, Clone, Copy)]
enum RemoteEnd {
    Docker,
    Port(u16),
}

impl Ssh {
    /// A socket that leads to the Docker daemon of the other machine.
    ///
    /// # Errors
    /// [`SshError::Files`] when there can be no socket.
    pub fn forward_docker(&self) -> Result<ForwardedSocket<PathBuf>, SshError> {
        let at = self.0.sockets.path().join("docker");
        let _ = std::fs::remove_file(&at);
        let listener = UnixListener::bind(&at).map_err(SshError::Files)?;
        let ssh = self.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(ssh.clone().proxy(stream, RemoteEnd::Docker));
            }
        });
        Ok(ForwardedSocket { at, _listening: AbortOnDropHandle::new(listening) })
    }

    /// A port on our loopback that leads to one on the loopback of the other machine.
    ///
    /// # Errors
    /// [`SshError::Files`] when there can be no socket.
    pub async fn forward_port(&self, port: u16) -> Result<ForwardedSocket<SocketAddr>, SshError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(SshError::Files)?;
        let at = listener.local_addr().map_err(SshError::Files)?;
        let ssh = self.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(ssh.clone().proxy(stream, RemoteEnd::Port(port)));
            }
        });
        Ok(ForwardedSocket { at, _listening: AbortOnDropHandle::new(listening) })
    }

    /// Whoever connected sees its master close when there is none to the other machine.
    async fn proxy(self, mut near: impl AsyncRead + AsyncWrite + Unpin, end: RemoteEnd) {
        let Ok(master) = self.master().await else { return };
        let Ok(mut far) = self.connect_remote_end(&master, end).await else { return };
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => (),
            () = master.ended.cancelled() => (),
        }
    }

    async fn connect_remote_end(&self, master: &Arc<ControlMaster>, end: RemoteEnd) -> Result<UnixStream, SshError> {
        let socket = match end {
            RemoteEnd::Docker => master.docker.clone(),
            RemoteEnd::Port(port) => self.port(master, port).await?,
        };
        UnixStream::connect(&socket).await.map_err(SshError::Files)
    }

    /// Asks the master for a socket that leads to a port there, once per master.
    async fn port(&self, master: &ControlMaster, port: u16) -> Result<PathBuf, SshError> {
        let socket = PathBuf::from(with_suffix(&master.control, &format!("-{port}")));
        let mut ports = master.ports.lock().await;
        if !ports.contains(&port) {
            let mut command = self.multiplexed_command(master);
            command.args(["-O", "forward", "-L"]).arg(with_suffix(&socket, &format!(":127.0.0.1:{port}")));
            command.arg(self.0.address.address.to_string());
            let redactor = Redactor::default();
            let options =
                RunOptions { name: "ssh", input: None, redactor: &redactor, timeout: FORWARD_TIMEOUT, grace: GRACE };
            match process::run(command, &options, &Lines::none(), &CancellationToken::new()).await {
                Ok(output) if output.status == Status::Code(0) => ports.insert(port),
                Ok(output) => return Err(self.connection_lost(&output.stderr.last_lines(LAST_LINES))),
                Err(error) => return Err(self.not_started(error)),
            };
        }
        Ok(socket)
    }
}
