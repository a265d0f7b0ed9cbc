//! How a machine is reached by ssh.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

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

impl SshAddress {
    /// Whether another address leads to the same machine by the same way. Where one of them knows no host keys yet, the first
    /// contact has pinned them.
    #[must_use]
    pub fn is_same_machine(&self, other: &Self) -> bool {
        let is_first_contact = self.host_keys.is_empty() || other.host_keys.is_empty();
        let other_keys = if is_first_contact { &self.host_keys } else { &other.host_keys };
        *self == Self { host_keys: other_keys.clone(), ..other.clone() }
    }
}

/// The host keys of a machine that a file pins: those of the first contact when no others were known.
pub async fn pinned_host_keys(known_hosts: &Path, alias: &str) -> Vec<String> {
    let text = tokio::fs::read_to_string(known_hosts).await.unwrap_or_default();
    let of_this = |line: &str| {
        let (names, key) = line.split_once(' ')?;
        names.split(',').any(|it| it == alias).then(|| key.trim().to_owned())
    };
    text.lines().filter_map(of_this).collect()
}
