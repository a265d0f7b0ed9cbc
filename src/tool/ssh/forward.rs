//! Sockets here whose connections end on the other machine: each is made over the master that holds then, so the
//! clients behind them need not know that one broke.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Master, Ssh, SshError, joined};
use crate::event::Lines;
use crate::tool::ToolError;

/// A socket here whose connections end on the other machine, for as long as it lives.
#[derive(Debug)]
pub struct Forward<A> {
    /// Where it listens.
    pub at: A,
    _listening: AbortOnDropHandle<()>,
}

/// What a master leads to.
#[derive(Debug, Clone, Copy)]
enum End {
    Docker,
    Port(u16),
}

impl Ssh {
    /// A socket that leads to the Docker daemon of the other machine.
    ///
    /// # Errors
    /// [`SshError::Files`] when there can be no socket.
    pub fn forward_docker(&self) -> Result<Forward<PathBuf>, SshError> {
        let at = self.0.sockets.path().join("docker");
        let _ = std::fs::remove_file(&at);
        let listener = UnixListener::bind(&at).map_err(SshError::Files)?;
        let ssh = self.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(ssh.clone().lead(stream, End::Docker));
            }
        });
        Ok(Forward { at, _listening: AbortOnDropHandle::new(listening) })
    }

    /// A port on our loopback that leads to one on the loopback of the other machine.
    ///
    /// # Errors
    /// [`SshError::Files`] when there can be no socket.
    pub async fn forward_port(&self, port: u16) -> Result<Forward<SocketAddr>, SshError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(SshError::Files)?;
        let at = listener.local_addr().map_err(SshError::Files)?;
        let ssh = self.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(ssh.clone().lead(stream, End::Port(port)));
            }
        });
        Ok(Forward { at, _listening: AbortOnDropHandle::new(listening) })
    }

    /// Whoever connected sees its master close when there is none to the other machine.
    async fn lead(self, mut near: impl AsyncRead + AsyncWrite + Unpin, end: End) {
        let Ok(master) = self.connection().await else { return };
        let Ok(mut far) = self.reach(&master, end).await else { return };
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => (),
            () = master.ended.cancelled() => (),
        }
    }

    async fn reach(&self, master: &Arc<Master>, end: End) -> Result<UnixStream, SshError> {
        let socket = match end {
            End::Docker => master.docker.clone(),
            End::Port(port) => self.port(master, port).await?,
        };
        UnixStream::connect(&socket).await.map_err(SshError::Files)
    }

    /// Asks the master for a socket that leads to a port there, once per master.
    async fn port(&self, master: &Master, port: u16) -> Result<PathBuf, SshError> {
        let socket = PathBuf::from(joined(&master.control, &format!("-{port}")));
        let mut ports = master.ports.lock().await;
        if !ports.contains(&port) {
            let ask = self.over(master).args(["-O", "forward", "-L"]);
            let ask = ask.arg(joined(&socket, &format!(":127.0.0.1:{port}"))).arg(self.0.address.address.to_string());
            match ask.run(&Lines::none(), &CancellationToken::new()).await {
                Ok(_) => ports.insert(port),
                Err(ToolError::Failed { lines, .. }) => return Err(self.dropped(&lines)),
                Err(error) => return Err(self.not_started(error)),
            };
        }
        Ok(socket)
    }
}
