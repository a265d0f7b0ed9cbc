//! Everything that a diagnosis rests on.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, Event, Pod};

use crate::cloud::kube::live;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::log::TimedLine;

/// Everything that a diagnosis rests on.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The Deployment.
    pub deployment: &'a Deployment,
    /// The pod of its newest version that tells most, if there is any.
    pub pod: Option<&'a Pod>,
    /// The events about the Deployment, its `ReplicaSet`s and its pods.
    pub events: &'a [Event],
    /// What the pod printed.
    pub log: &'a [TimedLine],
    /// Where the pod's processes listen; `None` when that is not known.
    pub listeners: Option<&'a [SocketAddr]>,
    /// What is known beside what the cluster tells.
    pub facts: &'a Facts,
    /// The processor architecture of the pod's node, such as `amd64`.
    pub node_architecture: Option<&'a str>,
    /// The names of the namespace's `LimitRange`s, where one of them refuses the pod.
    pub limit_ranges: &'a [String],
    /// How long the rollout was waited for.
    pub waited: Duration,
    /// The time now.
    pub now: Timestamp,
}

impl Evidence<'_> {
    /// The image that it is to run.
    pub(super) fn image(&self) -> String {
        self.container().and_then(|it| it.image.clone()).unwrap_or_default()
    }

    /// Whether a line of the log has this text.
    pub(super) fn log_contains(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.text.contains(text))
    }

    /// The message of the last event for that reason.
    pub(super) fn last_event(&self, reason: &str) -> Option<String> {
        let time = |event: &&Event| {
            event.last_timestamp.as_ref().map(|it| it.0).or_else(|| event.event_time.as_ref().map(|it| it.0))
        };
        let events = self.events.iter().filter(|event| event.reason.as_deref() == Some(reason));
        events.max_by_key(time).and_then(|event| event.message.clone())
    }

    /// Its memory limit in words.
    pub(super) fn memory_limit(&self) -> String {
        self.container()
            .and_then(|it| it.resources.as_ref()?.limits.as_ref()?.get("memory").map(|limit| limit.0.clone()))
            .unwrap_or_else(|| "the node".to_owned())
    }

    /// The port that is probed.
    pub(super) fn probed_port(&self) -> u16 {
        self.container().and_then(live::probed_port).unwrap_or_default()
    }

    fn container(&self) -> Option<&Container> {
        self.deployment.spec.template.spec.as_ref()?.containers.first()
    }
}
