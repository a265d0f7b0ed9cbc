//! A failed rollout or apply -> the reason in words, and the next thing to do.
//!
//! `rollout` gathers what the cluster knows (pods, events, log lines, open sockets); `classify` is pure. What pods print and
//! nodes say is redacted as it comes in (`quotes`), so the words about it can state any port and name.

pub mod classify;
pub mod evidence;
mod explanation;
pub mod facts;
pub mod log;
mod log_cause;
mod quotes;
pub mod refused_host;
pub mod rollout;
mod running;
pub mod sockets;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use crate::cloud::kube::error::KubeError;

/// Why an application does not run, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The cause, for programs.
    pub cause: Cause,
    /// The cause in one or two sentences.
    pub reason: String,
    /// The last lines that the application printed.
    pub last_log_lines: Vec<String>,
    /// What a person does next.
    pub next_step: String,
}

/// What can be wrong with an application on a cluster. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// The program that the image names is not in it.
    EntrypointMissing,
    /// The image is built for another kind of processor.
    WrongArchitecture,
    /// The program cannot be started for another reason.
    CannotStart,
    /// The image is not on the node and cannot be fetched.
    ImageUnavailable,
    /// The process ends by itself without an error.
    ProcessEnded,
    /// The process ends with an error again and again.
    CrashLoop,
    /// The process uses more memory than it may.
    OutOfMemory,
    /// The process listens on another port than the one that is probed.
    PortMismatch,
    /// The process listens on the loopback address only.
    LoopbackOnly,
    /// The process listens on an IPv6 address only, and the cluster speaks IPv4.
    Ipv6Only,
    /// The process runs and listens on no port.
    NeverListens,
    /// The process listens, but never counts as ready.
    NotReady,
    /// Nothing is wrong except the time that it takes.
    SlowStart,
    /// No node has room for it.
    Unschedulable,
    /// The quota of the namespace leaves no room.
    QuotaExceeded,
    /// The cluster refuses to create its pods.
    CreationRefused,
    /// A Secret, `ConfigMap` or volume that it needs is missing.
    ConfigurationMissing,
    /// All node ports of the range are in use.
    NodePortsExhausted,
    /// The cluster itself does not work.
    ClusterBroken,
    /// Objects of the same name belong to someone else.
    NameTaken,
    /// The credentials do not suffice.
    NotPermitted,
    /// None of the others fits.
    Unknown,
}

impl Cause {
    /// Its stable name.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.into()
    }
}

impl Diagnosis {
    /// Puts an error of the cluster's API into the same form, where a person can do something about it.
    #[must_use]
    pub fn from_error(error: &KubeError) -> Self {
        let (cause, next_step) = match error {
            KubeError::NodePortsExhausted { .. } => {
                (Cause::NodePortsExhausted, "Take down an application that is not needed, or widen `NODE_PORT_RANGE`.")
            }
            KubeError::NodePortTaken { .. } => {
                (Cause::NodePortsExhausted, "Leave the node port out, or name a free one.")
            }
            KubeError::QuotaExceeded { .. } => {
                (Cause::QuotaExceeded, "Free some of the quota, raise it, or deploy to another namespace.")
            }
            KubeError::Denied { .. } | KubeError::Invalid { .. } => {
                (Cause::CreationRefused, "Change what the policy objects to, or deploy to another namespace.")
            }
            KubeError::NotOurs { .. } => (Cause::NameTaken, "Choose another `instance_name` or `target_namespace`."),
            KubeError::Forbidden { .. } | KubeError::Unauthorized => {
                (Cause::NotPermitted, "Use a kubeconfig whose account may do this.")
            }
            KubeError::Refused { .. }
            | KubeError::Unreachable { .. }
            | KubeError::Certificate { .. }
            | KubeError::Kubeconfig(_)
            | KubeError::NodeNotReady { .. }
            | KubeError::NoNodes => (
                Cause::ClusterBroken,
                "Check the cluster with `docker ps` and `kubectl get nodes`; a kind cluster that stays broken can be \
                 deleted with `kind delete cluster`, and is made again by the next deploy.",
            ),
            KubeError::Held { .. } | KubeError::NamespaceTerminating { holder: Some(_), .. } => (
                Cause::ClusterBroken,
                "Let the controller do its work that is to take the finalizer away, or take it away by hand with \
                 `kubectl edit`.",
            ),
            KubeError::Timeout { .. }
            | KubeError::Unavailable { .. }
            | KubeError::NamespaceTerminating { .. }
            | KubeError::Conflict { .. } => (Cause::ClusterBroken, "Try again in a moment."),
            KubeError::NotFound { .. }
            | KubeError::Template(_)
            | KubeError::Manifest { .. }
            | KubeError::Cancelled
            | KubeError::Unexpected(_) => (Cause::Unknown, "Try again; if it stays, read the server's log."),
        };
        let mut reason = error.to_string();
        if let Some(first) = reason.get(..1) {
            reason = format!("{}{}.", first.to_ascii_uppercase(), &reason[1..]);
        }
        Self { cause, reason, last_log_lines: Vec::new(), next_step: next_step.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_range_of_node_ports_is_a_cause_of_its_own() {
        let diagnosis = Diagnosis::from_error(&KubeError::NodePortsExhausted { first: 30000, last: 30015 });

        insta::assert_json_snapshot!(diagnosis);
    }

    #[test]
    fn what_to_do_is_said_once() {
        let errors = [
            KubeError::NodePortsExhausted { first: 1, last: 2 },
            KubeError::NodePortTaken { port: 1 },
            KubeError::QuotaExceeded { message: "the quota `a` is 1".to_owned() },
            KubeError::Forbidden { message: "no".to_owned() },
            KubeError::NamespaceTerminating { namespace: "a".to_owned(), holder: None },
            KubeError::Held {
                what: "it".to_owned(),
                holder: "Secret `a`, by the finalizer `b`".to_owned(),
                after_s: 1,
            },
            KubeError::NotOurs {
                kind: "Service",
                name: "a".to_owned(),
                namespace: "b".to_owned(),
                owner: "c".to_owned(),
            },
        ];

        insta::assert_json_snapshot!(errors.each_ref().map(|error| {
            let Diagnosis { reason, next_step, .. } = Diagnosis::from_error(error);
            format!("{reason} {next_step}")
        }));
    }

    #[test]
    fn the_code_of_a_cause_is_what_it_serialises_to() {
        assert_eq!(
            (Cause::LoopbackOnly.code(), Cause::NodePortsExhausted.code()),
            ("loopback_only", "node_ports_exhausted")
        );
        assert!(Cause::VARIANTS.iter().all(|it| serde_json::to_value(it).unwrap() == it.code()));
    }
}
