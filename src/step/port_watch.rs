//! Looks where a process listens that does not become ready, while its rollout is waited for.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::applied_application::ApplicationApplied;
use super::context::StepContext;
use super::facts::port_facts;
use super::socket_tables::socket_tables;
use crate::cloud::kube::Kube;
use crate::diagnosis::rollout::{Evidence, gather};
use crate::diagnosis::{Cause, Diagnosis};
use crate::id::{Port, Protocol};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A process that has printed nothing and opened nothing for so long listens where it means to; a person is told.
const QUIET: Duration = Duration::from_secs(5);
/// After so long what nothing can reach is a failure.
const SETTLED: Duration = Duration::from_secs(8);
/// Ports of debuggers: those of the JVM (JDWP), Node.js, Delve, debugpy and Xdebug.
const DEBUG_PORTS: [u16; 7] = [2345, 5005, 5678, 9003, 9229, 9230, 40000];

/// What was seen.
pub(super) enum Verdict {
    /// The one other port that answers HTTP, and why it is taken for the one that is meant.
    OtherPort(Port, String),
    /// The process listens where nothing can reach it, or at several ports.
    Definite(Diagnosis),
}

/// Looks until something is certain; never comes to an end while nothing is. What a person should know meanwhile is in
/// `told`.
pub(super) async fn watch_port(
    cx: &StepContext,
    kube: &Kube,
    it: &ApplicationApplied,
    told: &Mutex<Option<String>>,
) -> Verdict {
    let tell = |reason| *told.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    let began = Instant::now();
    let mut before = None;
    let mut quiet_since = began;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let (name, namespace) = (&cx.deployment.name, &cx.deployment.namespace);
        let gathered = Box::pin(gather(kube, name, namespace, &cx.redactor, socket_tables(cx))).await;
        // What cannot be seen now may be seen at the next look.
        let Ok(Some(evidence)) = gathered else { continue };
        let now = evidence.activity();
        if now.is_none() || before != now {
            quiet_since = Instant::now();
            before = now;
            tell(None);
            continue;
        }
        if quiet_since.elapsed() < QUIET {
            continue;
        }
        // Only a guess on which nothing listens gives way.
        let answering = if it.port_source.is_given() || evidence.serves(it.main_port) {
            Vec::new()
        } else {
            answering_ports(cx, kube, &evidence, &other_ports(&evidence, it)).await
        };
        if let [port] = answering.as_slice() {
            return Verdict::OtherPort(*port, why(it, *port, evidence.listeners.is_some()));
        }
        let diagnosis = evidence.classify(began.elapsed(), &port_facts(it));
        let is_ambiguous = diagnosis.cause == Cause::PortMismatch && answering.len() > 1;
        let is_definite = is_ambiguous || matches!(diagnosis.cause, Cause::LoopbackOnly | Cause::Ipv6Only);
        if is_definite && quiet_since.elapsed() >= SETTLED {
            return Verdict::Definite(diagnosis);
        }
        let is_of_sockets =
            is_definite || matches!(diagnosis.cause, Cause::PortMismatch | Cause::NeverListens | Cause::NotReady);
        tell(is_of_sockets.then_some(diagnosis.reason));
    }
}

fn why(it: &ApplicationApplied, port: Port, is_seen: bool) -> String {
    let (expected, said_by) = (it.main_port, port_facts(it).port_said_by());
    if is_seen {
        format!(
            "Nothing listens on port {expected}{said_by}; the process listens on {port}, which is served instead, now and by later redeploys."
        )
    } else {
        format!(
            "Nothing answers at port {expected}{said_by}, and where the process listens cannot be seen; of the ports that its image exposes {port} answers, which is served instead, now and by later redeploys."
        )
    }
}

/// The ports beside the main one at which the process may be meant to be reached: where it listens, or where that cannot be
/// seen, those that its image exposes.
fn other_ports(evidence: &Evidence, it: &ApplicationApplied) -> BTreeSet<Port> {
    let ports: Vec<Port> = match &evidence.listeners {
        Some(listeners) => {
            let outside = listeners.iter().filter(|it| !it.ip().is_loopback());
            outside.filter_map(|it| Port::new(it.port())).collect()
        }
        None => it.ports.iter().filter(|it| it.protocol == Protocol::Tcp).map(|it| it.number).collect(),
    };
    ports.into_iter().filter(|port| *port != it.main_port && !DEBUG_PORTS.contains(&port.get())).collect()
}

async fn answering_ports(cx: &StepContext, kube: &Kube, evidence: &Evidence, ports: &BTreeSet<Port>) -> Vec<Port> {
    let Some(pod) = evidence.pod_name() else { return Vec::new() };
    let mut answering = Vec::new();
    for port in ports {
        if kube.fetch_from_pod(&cx.deployment.namespace, &pod, *port, "localhost").await.is_some() {
            answering.push(*port);
        }
    }
    answering
}
