//! What can go wrong at the Kubernetes API, in words that say what to do.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use kube::core::Status;

use crate::cloud::kube::limit::full_quota;
use crate::template::TemplateError;

/// Why a request to a cluster failed.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// The kubeconfig is no use.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(String),
    /// Nobody listens where the API should be.
    #[error("the Kubernetes API at `{server}` refuses connections: the cluster is stopped or still starting")]
    Refused {
        /// The address of the API.
        server: String,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API cannot be reached, or the connection broke.
    #[error("the Kubernetes API at `{server}` cannot be reached: {detail}")]
    Unreachable {
        /// The address of the API.
        server: String,
        /// The innermost cause.
        detail: String,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API's certificate is not the one that the kubeconfig trusts.
    #[error(
        "the Kubernetes API at `{server}` shows a certificate that the kubeconfig does not trust ({detail}): \
         the cluster was made anew, or another program listens there; write its kubeconfig again"
    )]
    Certificate {
        /// The address of the API.
        server: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Something took too long.
    #[error("waited {after_s} s in vain for {what}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after_s: u64,
    },
    /// What is to go stays, because a finalizer holds it.
    #[error("waited {after_s} s in vain for {what} to go, which is held: {holder}")]
    Held {
        /// What is to go.
        what: String,
        /// The objects and their finalizers.
        holder: String,
        /// How long it was waited for.
        after_s: u64,
    },
    /// The credentials are not accepted.
    #[error("the Kubernetes API does not accept our credentials: they expired or belong to another cluster")]
    Unauthorized,
    /// The credentials are accepted, but not for this.
    #[error("the Kubernetes API forbids this: {message}")]
    Forbidden {
        /// Who may not do what, as the API says it.
        message: String,
    },
    /// The namespace is being deleted.
    #[error("the namespace `{namespace}` is being deleted{}", holder.as_ref().map(|it| format!(", and held: {it}")).unwrap_or_default())]
    NamespaceTerminating {
        /// Its name.
        namespace: String,
        /// The objects in it that finalizers hold, where that is known.
        holder: Option<String>,
    },
    /// A quota of the namespace leaves no room.
    #[error("the namespace has no room for this: {message}")]
    QuotaExceeded {
        /// The quota with its numbers.
        message: String,
    },
    /// A policy of the cluster refuses the object.
    #[error("a policy of the cluster refuses this: {message}")]
    Denied {
        /// The webhook's or policy's answer.
        message: String,
    },
    /// The node port that was asked for has another owner.
    #[error("the node port {port} is already taken by another service")]
    NodePortTaken {
        /// The port.
        port: u16,
    },
    /// All node ports that may be used are in use.
    #[error("all node ports from {first} to {last} are in use")]
    NodePortsExhausted {
        /// The first port of the range.
        first: u16,
        /// The last port of the range.
        last: u16,
    },
    /// An object of that name is there, and it is not ours.
    #[error("{kind} `{name}` in namespace `{namespace}` belongs to {owner}")]
    NotOurs {
        /// The kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
        /// Whose it is.
        owner: String,
    },
    /// The cluster answers but cannot run anything.
    #[error("the node `{node}` of the cluster is not ready: {reason}")]
    NodeNotReady {
        /// The node.
        node: String,
        /// Its condition in words.
        reason: String,
    },
    /// The cluster has no node.
    #[error("the cluster has no node")]
    NoNodes,
    /// The object is not there.
    #[error("not on the cluster: {message}")]
    NotFound {
        /// What, as the API says it.
        message: String,
    },
    /// Someone else changed the object at the same time.
    #[error("another change came between: {message}")]
    Conflict {
        /// As the API says it.
        message: String,
    },
    /// The API found the object wrong.
    #[error("the Kubernetes API refuses the manifest: {message}")]
    Invalid {
        /// As the API says it.
        message: String,
    },
    /// The API is overloaded or broken for the moment.
    #[error("the Kubernetes API cannot serve right now ({code}): {message}")]
    Unavailable {
        /// The HTTP status.
        code: u16,
        /// As the API says it.
        message: String,
    },
    /// A manifest could not be made from its template.
    #[error("a manifest could not be made from its template")]
    Template(#[from] TemplateError),
    /// A template gave a text that is no manifest.
    #[error("the template `{name}` does not give a manifest: {message}")]
    Manifest {
        /// The template.
        name: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Anything else.
    #[error("the Kubernetes API answered something unexpected")]
    Unexpected(#[source] Box<kube::Error>),
}

impl KubeError {
    /// Whether the same request may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Held { .. }
            | Self::NamespaceTerminating { .. }
            | Self::Conflict { .. }
            | Self::Unavailable { .. }
            | Self::NodeNotReady { .. }
            | Self::NoNodes => true,
            Self::Kubeconfig(_)
            | Self::Certificate { .. }
            | Self::Unauthorized
            | Self::Forbidden { .. }
            | Self::QuotaExceeded { .. }
            | Self::Denied { .. }
            | Self::NodePortTaken { .. }
            | Self::NodePortsExhausted { .. }
            | Self::NotOurs { .. }
            | Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::Template(_)
            | Self::Manifest { .. }
            | Self::Cancelled
            | Self::Unexpected(_) => false,
        }
    }

    /// What was to go did not in time.
    pub(super) fn overdue(what: String, timeout: Duration, holder: Option<String>) -> Self {
        let after_s = timeout.as_secs();
        match holder {
            Some(holder) => Self::Held { what, holder, after_s },
            None => Self::Timeout { what: format!("{what} to go"), after_s },
        }
    }

    /// Puts an error of the client into our words.
    pub(super) fn from_client(error: kube::Error, server: &str) -> Self {
        use kube::Error;
        if let Error::Api(status) = &error {
            return Self::from_status(status);
        }
        let in_transit = matches!(error, Error::Service(_) | Error::HyperError(_) | Error::ReadEvents(_));
        if in_transit { Self::from_connection(error, server) } else { Self::Unexpected(Box::new(error)) }
    }

    /// Puts an error of a watch into our words.
    pub(super) fn from_watch(error: kube::runtime::watcher::Error, server: &str) -> Self {
        use kube::runtime::watcher::Error;
        match error {
            Error::InitialListFailed(error) | Error::WatchStartFailed(error) | Error::WatchFailed(error) => {
                Self::from_client(error, server)
            }
            Error::WatchError(status) => Self::from_status(&status),
            Error::NoResourceVersion => {
                Self::Unavailable { code: 0, message: "a watch without a resource version".to_owned() }
            }
        }
    }

    fn from_connection(error: kube::Error, server: &str) -> Self {
        let mut chain = Vec::new();
        let mut next: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(cause) = next {
            chain.push(cause);
            next = cause.source();
        }
        let refused = chain.iter().any(|cause| {
            cause.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::ConnectionRefused)
        });
        let detail = chain.last().map(ToString::to_string).unwrap_or_default();
        let server = server.to_owned();
        if refused {
            Self::Refused { server, source: Box::new(error) }
        } else if detail.to_ascii_lowercase().contains("certificate") {
            Self::Certificate { server, detail }
        } else {
            Self::Unreachable { server, detail, source: Box::new(error) }
        }
    }

    /// Puts the answer of the API into our words.
    pub(super) fn from_status(status: &Status) -> Self {
        let message = status.message.trim().to_owned();
        let about = |kind: &str| {
            status.details.as_ref().filter(|it| it.kind == kind).map(|it| it.name.clone()).unwrap_or_default()
        };
        if message.contains("because it is being terminated") {
            let namespace = quoted_after(&message, "namespace ").unwrap_or_else(|| about("namespaces"));
            return Self::NamespaceTerminating { namespace, holder: None };
        }
        if let Some(message) = full_quota(&message) {
            return Self::QuotaExceeded { message };
        }
        if message.contains("denied the request") || message.contains("violates PodSecurity") {
            return Self::Denied { message };
        }
        if message.contains("provided port is already allocated") {
            let port = number_after(&message, "Invalid value: ").unwrap_or_default();
            return Self::NodePortTaken { port };
        }
        match status.code {
            401 => Self::Unauthorized,
            403 if message.contains("system:anonymous") => Self::Unauthorized,
            403 => Self::Forbidden { message },
            404 => Self::NotFound { message },
            409 => Self::Conflict { message },
            400 | 405..=428 => Self::Invalid { message },
            code => Self::Unavailable { code, message },
        }
    }
}

fn number_after(text: &str, before: &str) -> Option<u16> {
    let (_, rest) = text.split_once(before)?;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

fn quoted_after(text: &str, before: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    rest.split_whitespace().next().map(|word| word.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, message: &str) -> KubeError {
        KubeError::from_status(&Status { code, message: message.to_owned(), ..Status::default() })
    }

    #[test]
    fn a_missing_permission_is_named() {
        let error = answered(403, r#"deployments.apps is forbidden: User "dev" cannot create resource "deployments""#);

        assert!(error.to_string().contains(r#"User "dev" cannot create resource"#), "{error}");
        assert!(!error.is_transient());
    }

    #[test]
    fn a_namespace_that_is_being_deleted_is_worth_another_try() {
        let error = answered(
            403,
            r#"deployments.apps "a" is forbidden: unable to create new content in namespace demo because it is being terminated"#,
        );

        assert!(matches!(&error, KubeError::NamespaceTerminating { namespace, .. } if namespace == "demo"));
        assert!(error.is_transient());
    }

    #[test]
    fn a_full_quota_is_told_without_the_words_around_it() {
        let error = answered(
            403,
            r#"pods "a" is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=2, limited: cpu=2"#,
        );

        assert!(
            matches!(&error, KubeError::QuotaExceeded { message } if message.starts_with("the quota `small` is cpu=2"))
        );
    }

    #[test]
    fn a_node_port_that_is_taken_is_named() {
        let error = answered(
            422,
            r#"Service "a" is invalid: spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated"#,
        );

        assert!(matches!(error, KubeError::NodePortTaken { port: 30001 }));
    }

    #[test]
    fn a_webhook_that_says_no_is_permanent_and_one_that_does_not_answer_is_not() {
        let denied = answered(400, r#"admission webhook "policy.test" denied the request: no root"#);
        let silent =
            answered(500, r#"Internal error occurred: failed calling webhook "policy.test": connection refused"#);

        assert!(matches!(denied, KubeError::Denied { .. }));
        assert!(silent.is_transient());
    }

    #[tokio::test]
    async fn an_api_that_nobody_serves_refuses_and_is_worth_another_try() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let yaml = format!(
            "{{apiVersion: v1, kind: Config, current-context: a, users: [{{name: a, user: {{}}}}], \
             clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{port}'}}}}], \
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}]}}"
        );

        let error = crate::cloud::kube::Kube::from_kubeconfig(&yaml).await.unwrap().ready().await.unwrap_err();

        assert!(matches!(error, KubeError::Refused { .. }), "{error:?}");
        assert!(error.is_transient());
    }
}
