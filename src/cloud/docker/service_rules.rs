//! Where a node sends what comes for a Service: the rules that kube-proxy has written into its kernel.

use std::net::IpAddr;

use tokio_util::sync::CancellationToken;

use super::{Docker, DockerError};

/// Its arguments are addresses; 0: in no rule, 1: one is in a rule, else there are no rules. kube-proxy writes into chains of
/// its own of iptables' table `nat`, or into a table of its own of nftables ("Virtual IPs and Service Proxies" of
/// Kubernetes); a pod's network keeps rules about it for as long as it is there.
const SCRIPT: &str = "rules=$({ { iptables-save -t nat; ip6tables-save -t nat; } | grep -e '^-A KUBE-'; \
                      nft list table ip kube-proxy; nft list table ip6 kube-proxy; } 2>/dev/null); \
                      [ -n \"$rules\" ] || exit 3; \
                      for address; do echo \"$rules\" | grep -qFwe \"$address\" && exit 1; done; exit 0";

impl Docker {
    /// Whether the node still sends requests to one of these pods; `None` when its rules cannot be seen.
    ///
    /// # Errors
    /// [`DockerError`] when the node's container does not run.
    pub async fn node_routes_to(
        &self,
        node: &str,
        pods: &[IpAddr],
        cancel: &CancellationToken,
    ) -> Result<Option<bool>, DockerError> {
        let addresses: Vec<String> = pods.iter().map(ToString::to_string).collect();
        let mut argv = vec!["sh", "-c", SCRIPT, "sh"];
        argv.extend(addresses.iter().map(String::as_str));
        let output = self.exec(node, &argv, None, cancel).await?;
        Ok(match output.code {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        })
    }
}
