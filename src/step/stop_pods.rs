//! Ends the processes of an application that goes, at once: the pause that spares a redeploy's requests spares nobody here.

use std::time::Duration;

use futures_util::future::join_all;

use super::context::StepContext;
use crate::cloud::docker::Docker;
use crate::cloud::kube::stop::PausingPod;
use crate::id::Mode;

/// Its arguments are a signal, the id of a container, and how many tenths of a second the process has before it is killed.
const SCRIPT: &str = "task() { ctr -n k8s.io tasks \"$@\"; }; runs() { task ls | grep -q \"^$1 .*RUNNING\"; }; \
                      task kill --signal \"$1\" \"$2\" || exit; tenths=0; \
                      while [ $tenths -lt \"$3\" ] && runs \"$2\"; do sleep 0.1; tenths=$((tenths + 1)); done; \
                      ! runs \"$2\" || task kill --signal SIGKILL \"$2\"";

/// How long the node may take beside what the process has.
const NODE_TIMEOUT: Duration = Duration::from_secs(5);

/// Ends the processes of these pods as Kubernetes would after their pause, and tells whose were. The nodes of EKS take no
/// orders, so there the pause passes.
pub(super) async fn stop_pods(cx: &StepContext, pods: Vec<PausingPod>) -> Vec<String> {
    if pods.is_empty() || cx.target.mode == Mode::CloudHosted {
        return Vec::new();
    }
    let Ok(host) = cx.host().await else { return Vec::new() };
    let stopped = join_all(pods.iter().map(|pod| stop_process(cx, &host.docker, pod))).await;
    pods.into_iter().zip(stopped).filter_map(|(pod, stopped)| stopped.then_some(pod.name)).collect()
}

/// Whether the process was told to end and had its time; a node that does not do it leaves it to Kubernetes.
async fn stop_process(cx: &StepContext, docker: &Docker, pod: &PausingPod) -> bool {
    let signal = docker.image(&pod.image).await.ok().flatten().and_then(|image| image.stop_signal());
    let signal = signal.unwrap_or_else(|| "SIGTERM".to_owned());
    let tenths = (pod.stop_grace.as_millis() / 100).to_string();
    let argv = ["sh", "-c", SCRIPT, "sh", &signal, &pod.container.id, &tenths];
    let stop = docker.exec(&pod.container.node, &argv, None, &cx.cancel);
    let stopped = tokio::time::timeout(pod.stop_grace + NODE_TIMEOUT, stop).await;
    stopped.is_ok_and(|it| it.is_ok_and(|output| output.code == 0))
}
