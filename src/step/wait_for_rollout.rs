//! Waits until the application serves, and finds out why when it does not.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::applied_application::node_ports;
use super::apply_application::ApplyApplication;
use super::context::StepContext;
use super::error::StepError;
use super::facts::facts;
use super::port_watch::{Verdict, watch_port};
use super::remove_images::running_nodes;
use super::scale_node_group::add_node;
use super::socket_tables::socket_tables;
use super::stop_pods::stop_pods;
use crate::cloud::kube::Kube;
use crate::cloud::kube::rollout::{Rollout, RolloutFailure};
use crate::diagnosis::rollout;
use crate::id::{ClusterName, Mode, Port};

/// How long nodes that cannot be asked are given to hear that pods have gone.
const UNSEEN_NODES: Duration = Duration::from_secs(2);
/// How long nodes that are asked may take.
const NODES_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at a node.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until the application serves, and finds out why when it does not. No check: for a finished rollout `run`
/// returns after the first list of the watch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WaitForRollout {
    /// The cluster.
    pub cluster: ClusterName,
}

/// The application serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RolledOut {
    /// How many replicas serve.
    pub ready: usize,
    /// The pods that serve.
    #[serde(default)]
    pub pods: Vec<String>,
    /// The port at which the process was seen to listen, when it is another one than was applied.
    #[serde(default)]
    pub seen_port: Option<Port>,
}

impl StepAction for WaitForRollout {
    const NAME: &'static str = "wait_for_rollout";
    type Output = RolledOut;

    fn title(&self) -> String {
        "Wait until it serves".to_owned()
    }

    fn weight(&self) -> u32 {
        3
    }

    fn summary(&self, output: &RolledOut) -> String {
        match output.ready {
            0 => "no replicas run".to_owned(),
            1 => "1 replica serves".to_owned(),
            ready => format!("{ready} replicas serve"),
        }
    }

    async fn run(&self, cx: &StepContext) -> Result<RolledOut, StepError> {
        let (name, namespace) = (&cx.deployment.name, &cx.deployment.namespace);
        let kube = cx.kube(&self.cluster).await?;
        let timeout = cx.settings.rollout.timeout;
        let told = Mutex::new(None);
        let on_progress = |text: String| {
            let told = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
            cx.lines.progress(told.unwrap_or(text));
        };
        // Only of what this operation has applied it is not known whether its port is the right one.
        let mut applied = cx.try_output::<ApplyApplication>()?.filter(|it| it.changed && it.replicas > 0);
        loop {
            let watch = async {
                match &applied {
                    Some(applied) => Box::pin(watch_port(cx, &kube, applied, &told)).await,
                    None => std::future::pending().await,
                }
            };
            let waited = tokio::select! {
                waited = kube.wait_for_rollout(name, namespace, timeout, &on_progress, &cx.cancel) => waited,
                seen = watch => {
                    match (seen, applied.take()) {
                        (Verdict::OtherPort(port, why), Some(before)) => {
                            cx.lines.warning(why);
                            let application = before.at_port(port).application(cx, &kube, None).await?;
                            kube.apply(&application, None, &node_ports(cx, &self.cluster).await?).await?;
                        }
                        (Verdict::Definite(diagnosis), _) => return Err(diagnosis.into()),
                        (Verdict::OtherPort(..), None) => (),
                    }
                    continue;
                }
            };
            match waited {
                Ok(rollout) => {
                    if rollout.pods.is_empty() {
                        self.end_last_pods(cx, &kube).await?;
                    } else if !rollout.former.is_empty() {
                        self.wait_for_nodes(cx, &rollout.former).await?;
                    }
                    return Self::rolled_out(cx, rollout);
                }
                Err(RolloutFailure::Unschedulable { .. }) if add_node(cx, &kube).await? => (),
                Err(RolloutFailure::Cancelled) => return Err(StepError::Cancelled),
                Err(RolloutFailure::Api(error)) => return Err(error.into()),
                Err(_) => {
                    cx.lines.progress("finding out why");
                    let facts = Box::pin(facts(cx, cx.try_output::<ApplyApplication>()?.as_ref())).await;
                    let (redactor, sockets) = (&cx.redactor, socket_tables(cx));
                    let found = rollout::diagnose(&kube, name, namespace, timeout, redactor, &facts, sockets);
                    let diagnosis = Box::pin(found).await?;
                    return Err(diagnosis.into());
                }
            }
        }
    }
}

impl WaitForRollout {
    /// What the cluster has may be another port than was applied first, also by a run that was interrupted.
    fn rolled_out(cx: &StepContext, rollout: Rollout) -> Result<RolledOut, StepError> {
        let applied = cx.try_output::<ApplyApplication>()?.map(|it| it.main_port);
        let live = rollout.main_port.and_then(Port::new);
        let seen_port = live.filter(|live| applied.is_some_and(|applied| applied != *live));
        Ok(RolledOut { ready: rollout.pods.len(), pods: rollout.pods, seen_port })
    }

    /// A node sends requests to pods that are about to stop when there are no others, so nobody answers only when they have
    /// stopped.
    async fn end_last_pods(&self, cx: &StepContext, kube: &Kube) -> Result<(), StepError> {
        let (namespace, deployment) = (&cx.deployment.namespace, cx.deployment.id);
        let stopped = stop_pods(cx, kube.pausing_pods(namespace, deployment).await?).await;
        if kube.pod_names(namespace, deployment).await?.iter().all(|pod| stopped.contains(pod)) {
            return Ok(());
        }
        cx.lines.progress("waiting until the last pods have stopped");
        tokio::select! {
            gone = kube.wait_until_pods_are_gone(namespace, deployment) => Ok(gone?),
            () = tokio::time::sleep(cx.settings.rollout.timeout) => Ok(()),
            () = cx.cancel.cancelled() => Err(StepError::Cancelled),
        }
    }

    /// Waits until no node sends requests to pods that have gone: a Service tells its nodes a little later.
    async fn wait_for_nodes(&self, cx: &StepContext, former: &[IpAddr]) -> Result<(), StepError> {
        cx.lines.progress("waiting until only the new pods are sent requests");
        let followed = async {
            if cx.target.mode == Mode::CloudHosted {
                tokio::time::sleep(UNSEEN_NODES).await;
                return Ok(());
            }
            let docker = cx.host().await?.docker;
            for node in running_nodes(cx, &self.cluster).await? {
                loop {
                    match docker.node_routes_to(&node.container, former, &cx.cancel).await? {
                        Some(false) => break,
                        Some(true) => tokio::time::sleep(POLL_INTERVAL).await,
                        None => {
                            tokio::time::sleep(UNSEEN_NODES).await;
                            break;
                        }
                    }
                }
            }
            Ok::<(), StepError>(())
        };
        tokio::select! {
            followed = followed => return followed,
            () = cx.cancel.cancelled() => return Err(StepError::Cancelled),
            () = tokio::time::sleep(NODES_TIMEOUT) => (),
        }
        cx.lines.warning(format!(
            "After {} s the nodes still send requests to pods of the version before; look at kube-proxy on the cluster.",
            NODES_TIMEOUT.as_secs()
        ));
        Ok(())
    }
}
