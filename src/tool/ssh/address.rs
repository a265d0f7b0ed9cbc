//! How a machine is reached by ssh.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// How a machine is reached by ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAddress {
    /// Its address.
    pub address: IpAddr,
    /// Where its ssh listens.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// File with the private key.
    pub private_key: PathBuf,
    /// File in which its host key is pinned, the target's own.
    pub known_hosts: PathBuf,
    /// What it is called in that file, whatever its address: the instance's id.
    pub alias: String,
    /// Its host keys (`ssh-ed25519 AAAA...`), where they are known from another source than the connection itself;
    /// without any, the first contact pins what it finds.
    pub host_keys: Vec<String>,
}

impl fmt::Display for SshAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            22 => write!(f, "{}", self.address),
            port => write!(f, "{} (port {port})", self.address),
        }
    }
}
