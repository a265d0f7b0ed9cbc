//! Why a machine cannot be reached by ssh, recognised from what ssh prints.

use std::io;

use crate::event::Failure;
use crate::tool::ssh::address::SshAddress;

/// Says why a machine cannot be reached by ssh.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// ssh is not there.
    #[error("cannot run `{program}`; install it, or set its path")]
    NotRunnable {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody answers yet, or no longer.
    #[error("{address} does not answer by ssh: {reason}")]
    Unreachable {
        /// The machine.
        address: String,
        /// What ssh said.
        reason: String,
    },
    /// It answered before, and the connection broke.
    #[error("the ssh connection to {address} broke{}", because(.reason))]
    ConnectionLost {
        /// The machine.
        address: String,
        /// What ssh said; may be empty.
        reason: String,
    },
    /// The key is not accepted.
    #[error("{address} does not let the user `{user}` in with the key `{key}`")]
    PermissionDenied {
        /// The machine.
        address: String,
        /// Who logs in.
        user: String,
        /// File of the private key.
        key: String,
    },
    /// It is another machine than the one that is on record.
    #[error("{address} is not the machine that is on record: its host key is another one")]
    HostKeyChanged {
        /// The machine.
        address: String,
        /// File with the host key on record.
        known_hosts: String,
    },
    /// The private key cannot be used.
    #[error("the private key `{key}` cannot be used: {reason}")]
    UnusableKey {
        /// File of the private key.
        key: String,
        /// What ssh said.
        reason: String,
    },
    /// The sockets or the file of known hosts cannot be written.
    #[error("cannot keep the files of an ssh connection")]
    Files(#[source] io::Error),
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

impl SshError {
    /// Recognises why there is no connection, from the lines that ssh printed.
    pub(super) fn from_connect(address: &SshAddress, lines: &[String]) -> Self {
        let says =
            |texts: &[&str]| lines.iter().any(|line| texts.iter().any(|text| line.to_ascii_lowercase().contains(text)));
        let machine = address.to_string();
        let key = address.private_key.display().to_string();
        if says(&["host key verification failed", "remote host identification has changed", "host key for "]) {
            let known_hosts = address.known_hosts.display().to_string();
            Self::HostKeyChanged { address: machine, known_hosts }
        } else if says(&[
            "unprotected private key",
            "bad permissions",
            "load key",
            "error in libcrypto",
            "not accessible",
        ]) {
            let about_key = ["load key", "not accessible", "bad permissions", "unprotected"];
            Self::UnusableKey { key, reason: line_with(lines, &about_key) }
        } else if says(&["permission denied", "too many authentication failures", "no supported authentication"]) {
            Self::PermissionDenied { address: machine, user: address.user.clone(), key }
        } else {
            Self::Unreachable {
                address: machine,
                reason: line_with(lines, &["connect", "closed", "reset", "timed out"]),
            }
        }
    }

    /// Whether the same connection may work a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::ConnectionLost { .. } => true,
            Self::NotRunnable { .. }
            | Self::PermissionDenied { .. }
            | Self::HostKeyChanged { .. }
            | Self::UnusableKey { .. }
            | Self::Files(_)
            | Self::Cancelled => false,
        }
    }

    /// The stable code of the cause.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotRunnable { .. } => "ssh_missing",
            Self::Unreachable { .. } => "host_unreachable",
            Self::ConnectionLost { .. } => "host_connection_lost",
            Self::PermissionDenied { .. } => "host_permission_denied",
            Self::HostKeyChanged { .. } => "host_key_changed",
            Self::UnusableKey { .. } => "private_key_unusable",
            Self::Files(_) => "workspace_unavailable",
            Self::Cancelled => "cancelled",
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::NotRunnable { .. } => "Install OpenSSH's client, or set `SSH_PROGRAM` to its path".to_owned(),
            Self::Unreachable { .. } | Self::ConnectionLost { .. } => {
                "Check in the AWS console that the instance runs, that its security group lets this server in on port \
                 22 (`SSH_ALLOWED_CIDR`), and that a firewall here lets ssh out; then try again"
                    .to_owned()
            }
            Self::PermissionDenied { user, key, .. } => format!(
                "Is `{key}` the private key of the key pair that the instance was started with, and `{user}` the user \
                 of its image? Put the right file into `EC2_PRIVATE_KEY_BASE_PATH`, then try again"
            ),
            Self::HostKeyChanged { known_hosts, .. } => format!(
                "Compare the key with the one in the instance's console output. If somebody made the instance anew, \
                 remove `{known_hosts}` and try again; otherwise somebody else may be answering"
            ),
            Self::UnusableKey { key, .. } => {
                format!(
                    "`{key}` must hold a private key without a passphrase that only its owner can read (`chmod 600`)"
                )
            }
            Self::Files(_) => "Check that the workspace and `/tmp` can be written and have free space".to_owned(),
            Self::Cancelled => "Send the request again when you want it after all".to_owned(),
        }
    }

    /// The failure as it is stored and answered.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let cause = std::error::Error::source(self).map(|cause| format!(": {cause}")).unwrap_or_default();
        Failure {
            code: self.code().to_owned(),
            message: format!("{self}{cause}"),
            next_step: self.next_step(),
            output: Vec::new(),
        }
    }
}

/// The last line with one of these texts, else the last that says anything.
fn line_with(lines: &[String], texts: &[&str]) -> String {
    let said = || lines.iter().rev().map(|line| line.trim()).filter(|line| !line.is_empty());
    let found = said().find(|line| texts.iter().any(|text| line.to_ascii_lowercase().contains(text)));
    found.or_else(|| said().next()).unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(text: &str) -> SshError {
        let address = SshAddress {
            address: "192.0.2.7".parse().unwrap(),
            port: 22,
            user: "ubuntu".to_owned(),
            private_key: "/keys/mine.pem".into(),
            known_hosts: "/work/known_hosts".into(),
            alias: "i-1".to_owned(),
            host_keys: Vec::new(),
        };
        SshError::from_connect(&address, &text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_ssh_prints_tells_the_cause_and_whether_it_may_pass() {
        let told = [
            ("ssh: connect to host 192.0.2.7 port 22: Connection refused", "host_unreachable", true),
            ("ssh: connect to host 192.0.2.7 port 22: Connection timed out", "host_unreachable", true),
            ("kex_exchange_identification: Connection closed by remote host", "host_unreachable", true),
            (
                "\"System is booting up. Unprivileged users are not permitted to log in yet.\"\nConnection closed by 192.0.2.7 port 22",
                "host_unreachable",
                true,
            ),
            ("ubuntu@192.0.2.7: Permission denied (publickey).", "host_permission_denied", false),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                "host_key_changed",
                false,
            ),
            (
                "No ED25519 host key is known for i-1 and you have requested strict checking.\nHost key verification failed.",
                "host_key_changed",
                false,
            ),
            (
                "Permissions 0644 for '/keys/mine.pem' are too open.\nLoad key \"/keys/mine.pem\": bad permissions\nubuntu@192.0.2.7: Permission denied (publickey).",
                "private_key_unusable",
                false,
            ),
            (
                "Load key \"/keys/mine.pem\": error in libcrypto\nubuntu@192.0.2.7: Permission denied (publickey).",
                "private_key_unusable",
                false,
            ),
            ("", "host_unreachable", true),
        ];

        for (text, code, is_transient) in told {
            let error = cause(text);
            assert_eq!((error.code(), error.is_transient()), (code, is_transient), "{text}");
            assert!(!error.next_step().is_empty());
        }
    }

    #[test]
    fn the_line_that_says_most_is_the_reason() {
        let error = cause("banner\nssh: connect to host 192.0.2.7 port 22: Connection refused\n\n");

        assert_eq!(
            error.to_string(),
            "192.0.2.7 does not answer by ssh: ssh: connect to host 192.0.2.7 port 22: Connection refused"
        );
    }
}
