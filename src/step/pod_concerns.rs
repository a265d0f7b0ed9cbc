//! What the pods of an application that serves have done since: errors that they printed, processes that ended.

use super::context::StepContext;
use crate::diagnosis::log::{self, TimedLine};
use crate::diagnosis::refused_host::refused_host;
use crate::id::ClusterName;
use crate::store::record::Concern;

/// How many lines of a pod's log are looked at.
const LOG_LINES: u32 = 200;

/// Looks at the newest pods. Logs and states are evidence, not a condition: what cannot be read tells nothing.
pub(super) async fn pod_concerns(cx: &StepContext, cluster: &ClusterName) -> Vec<Concern> {
    let (name, namespace) = (&cx.deployment.name, &cx.deployment.namespace);
    let Ok(kube) = cx.kube(cluster).await else { return Vec::new() };
    let Ok(Some(snapshot)) = kube.snapshot(name, namespace).await else { return Vec::new() };
    for pod in snapshot.pods.keys() {
        let ended = snapshot.restarts(pod) > 0;
        let text = kube.pod_log(namespace.as_str(), pod, LOG_LINES, ended).await.unwrap_or_default();
        let printed = log::parse(&text);
        let evidence = |lines: &[TimedLine]| lines.iter().map(|it| cx.redactor.redact(&it.text).into_owned()).collect();
        if ended {
            let what = "its process has ended once since it started".to_owned();
            return vec![Concern { what, evidence: evidence(log::tail(&printed)) }];
        }
        if let Some(lines) = log::crash_report(&printed) {
            return vec![Concern { what: "it has printed an error".to_owned(), evidence: evidence(lines) }];
        }
        let refusal = printed.iter().rev().find_map(|line| Some((refused_host(&line.text)?, line)));
        if let Some((meaning, line)) = refusal {
            return vec![Concern { what: meaning.to_owned(), evidence: evidence(std::slice::from_ref(line)) }];
        }
    }
    Vec::new()
}
