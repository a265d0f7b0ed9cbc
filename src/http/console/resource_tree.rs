//! What a deployment owns, as a tree: what is on record of it, and how each part is when somebody has looked.

use serde::Serialize;

use super::graph::cut;
use crate::app::cloud_parts::CloudStatus;
use crate::app::looks::Health;
use crate::app::overview::{CloudPlace, DeploymentRecord};
use crate::cloud::kube::parts::PodStatus;
use crate::id::Mode;
use crate::reply::strip_ansi;
use crate::store::record::{Deployment, DeploymentState, Target};

/// So many letters of what the cluster says of a pod are shown.
const LONGEST_REASON: usize = 300;

/// One thing, with what is in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Node {
    /// What kind of thing it is.
    kind: &'static str,
    name: String,
    note: Option<String>,
    condition: Option<Condition>,
    links: Vec<Link>,
    children: Vec<Node>,
}

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Condition {
    /// What its colour is chosen by.
    pub(super) state: &'static str,
    /// In words.
    pub(super) word: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Link {
    text: &'static str,
    address: String,
}

impl Condition {
    fn healthy(word: impl Into<String>) -> Self {
        Self { state: "healthy", word: word.into() }
    }

    fn degraded(word: impl Into<String>) -> Self {
        Self { state: "degraded", word: word.into() }
    }

    fn unknown(word: impl Into<String>) -> Self {
        Self { state: "unknown", word: word.into() }
    }

    fn is_there(is_there: bool) -> Self {
        if is_there { Self::healthy("there") } else { Self::degraded("missing") }
    }

    /// How a deployment is as a whole.
    pub(super) fn of(health: &Health) -> Self {
        match health.live.serving {
            Some((_, 0)) => Self::unknown("scaled to zero"),
            Some((ready, wanted)) if ready >= wanted => Self::healthy(format!("{ready} of {wanted} serve")),
            Some((ready, wanted)) => Self::degraded(format!("{ready} of {wanted} serve")),
            None if health.live.is_gone => Self::degraded("missing"),
            None => Self::unknown("unknown"),
        }
    }
}

impl Node {
    fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self { kind, name: name.into(), note: None, condition: None, links: Vec::new(), children: Vec::new() }
    }

    fn note(self, note: Option<String>) -> Self {
        Self { note, ..self }
    }

    fn condition(self, condition: Option<Condition>) -> Self {
        Self { condition, ..self }
    }

    /// With what AWS says of it. One that works there need not answer here: then its own condition stays.
    fn in_cloud(self, status: Option<&CloudStatus>) -> Self {
        let Some(status) = status else { return self };
        let own = self.condition;
        let (condition, reason) = match status {
            CloudStatus::Working(word) => (own.unwrap_or_else(|| Condition::healthy(word)), None),
            CloudStatus::Impaired { word, reason } => (Condition::degraded(word), reason.as_ref()),
            CloudStatus::Unknown(reason) => (own.unwrap_or_else(|| Condition::unknown("unknown")), Some(reason)),
        };
        let notes: Vec<String> = self.note.into_iter().chain(reason.cloned()).collect();
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        Self { note, condition: Some(condition), ..self }
    }

    fn with(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children);
        self
    }
}

/// The tree of a deployment, whose roots are its target and what lies beside that in AWS.
pub(super) fn of(deployment: &Deployment, record: &DeploymentRecord, health: Option<&Health>) -> Vec<Node> {
    if deployment.state == DeploymentState::Removed {
        return Vec::new();
    }
    let facts = &deployment.facts;
    let cloud = health.map(|it| &it.cloud);
    let place = |place: Option<&CloudPlace>| place.map(ToString::to_string);
    let mut roots = vec![target(deployment, record.target.as_ref(), health)];
    let images = facts.ecr_repository_url.as_ref().map(|it| {
        let node = Node::new("ECR repository", it).note(place(record.image_place.as_ref()));
        node.in_cloud(cloud.and_then(|it| it.repository.as_ref()))
    });
    let certificate = facts.acm_certificate_arn.as_ref().map(|it| {
        let node = Node::new("Certificate", it).note(place(record.certificate_place.as_ref()));
        node.in_cloud(cloud.and_then(|it| it.certificate.as_ref()))
    });
    let alias = facts.host.as_ref().map(|it| {
        let zone = format!("in the hosted zone {}", it.zone);
        let node = Node::new("DNS record", it.name.as_str()).note(Some(zone));
        node.in_cloud(cloud.and_then(|it| it.alias.as_ref()))
    });
    roots.extend([alias, certificate, images].into_iter().flatten());
    roots
}

/// Where it runs, from the machine down to its pods.
fn target(deployment: &Deployment, target: Option<&Target>, health: Option<&Health>) -> Node {
    let answers = health.map(|it| {
        let has_answered = it.live.serving.is_some() || it.live.is_gone || it.parts.is_some();
        if has_answered { Condition::healthy("answers") } else { Condition::unknown("does not answer") }
    });
    let cloud = health.map(|it| &it.cloud);
    let name = deployment.target_name.as_str();
    let region = target.and_then(|it| it.region.as_ref()).map(|it| format!("in {it}"));
    let balancer = deployment.facts.nlb_dns_name.as_ref();
    let balancer =
        balancer.map(|it| Node::new("Load balancer", it).in_cloud(cloud.and_then(|it| it.load_balancer.as_ref())));
    let namespace = namespace(deployment, health);
    match deployment.mode {
        Mode::Local => {
            let note = Some("on the machine of the server".to_owned());
            Node::new("kind cluster", name).note(note).condition(answers).with([namespace])
        }
        Mode::CloudLocal => {
            let instance = target.and_then(|it| it.instance.as_ref());
            let note = instance
                .map(|it| format!("{} at {}, in {} of the account {}", it.id, it.public_ip, it.zone, it.account));
            let cluster = Node::new("kind cluster", name).condition(answers).with([namespace]);
            let machine = Node::new("EC2 instance", name).note(note.or(region)).with([cluster]);
            machine.in_cloud(cloud.and_then(|it| it.instance.as_ref()))
        }
        Mode::CloudHosted => {
            let cluster = target.and_then(|it| it.cluster.as_ref());
            let note =
                cluster.map(|it| format!("Kubernetes {}, in {} of the account {}", it.version, it.region, it.account));
            let tree = Node::new("EKS cluster", name).note(note.or(region)).condition(answers);
            tree.in_cloud(cloud.and_then(|it| it.cluster.as_ref())).with(balancer).with([namespace])
        }
    }
}

fn namespace(deployment: &Deployment, health: Option<&Health>) -> Node {
    let live = health.and_then(|it| it.parts.as_ref());
    let facts = &deployment.facts;
    let name = deployment.name.as_str();
    let wanted = facts.replicas.map(|it| if it == 1 { "1 replica".to_owned() } else { format!("{it} replicas") });
    let pods = live.into_iter().flat_map(|it| &it.pods).map(|it| pod(deployment, it));
    let application = Node::new("Deployment", name).note(wanted).condition(health.map(Condition::of)).with(pods);
    let service = facts.version.as_ref().map(|version| {
        let ports: Vec<String> = version.ports.iter().map(ToString::to_string).collect();
        let node_port = facts.node_port.map(|it| format!("port {it} of each node"));
        let note = node_port.or_else(|| (!ports.is_empty()).then(|| ports.join(", ")));
        Node::new("Service", name).note(note).condition(live.map(|it| Condition::is_there(it.has_service)))
    });
    let ingress = facts.host.as_ref().map(|host| {
        let condition = live.map(|it| Condition::is_there(it.has_ingress));
        Node::new("Ingress", name).note(Some(host.name.clone())).condition(condition)
    });
    let secret = facts.version.as_ref().and_then(|it| it.environment_secret.as_ref());
    let secret = secret.map(|it| {
        let condition = live.and_then(|it| it.has_secret).map(Condition::is_there);
        Node::new("Secret", it).note(Some("its environment".to_owned())).condition(condition)
    });
    let note = facts.owns_namespace.then(|| "made for it".to_owned());
    let condition = live.map(|it| Condition::is_there(it.has_namespace));
    let rest = [service, ingress, secret].into_iter().flatten();
    let namespace = Node::new("Namespace", deployment.namespace.as_str()).note(note).condition(condition);
    namespace.with([application]).with(rest)
}

fn pod(deployment: &Deployment, pod: &PodStatus) -> Node {
    let condition = match pod {
        PodStatus { is_ready: true, .. } => Condition::healthy("ready"),
        PodStatus { is_stopping: true, .. } => Condition::unknown(pod.activity.as_str()),
        PodStatus { .. } => Condition::degraded(pod.activity.as_str()),
    };
    let restarts = match pod.restarts {
        0 => None,
        1 => Some("started again once".to_owned()),
        times => Some(format!("started again {times} times")),
    };
    let place = pod.node.as_ref().map(|it| format!("on {it}"));
    let reason = pod.reason.as_ref().map(|it| cut(&strip_ansi(it), LONGEST_REASON));
    let notes: Vec<String> = place.into_iter().chain(restarts).chain(reason).collect();
    // The name of a pod has nothing in it that an address would have to hide.
    let logs = format!("/deployments/{}/logs?pod={}", deployment.id, pod.name);
    let before = format!("{logs}&previous=true");
    let before = (pod.restarts > 0).then_some(Link { text: "the container before", address: before });
    let links = std::iter::once(Link { text: "logs", address: logs }).chain(before).collect();
    let node = Node::new("Pod", pod.name.as_str()).note((!notes.is_empty()).then(|| notes.join(", ")));
    Node { links, ..node.condition(Some(condition)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::app::cloud_parts::CloudParts;
    use crate::cloud::kube::parts::ApplicationParts;
    use crate::reply::operation::tests::a_deployment;
    use crate::reply::view::LiveStatus;

    fn a_record() -> DeploymentRecord {
        DeploymentRecord {
            target: None,
            versions: Vec::new(),
            roll_outs: BTreeMap::new(),
            operations: Vec::new(),
            image_place: None,
            certificate_place: None,
        }
    }

    fn kinds(nodes: &[Node]) -> Vec<&'static str> {
        nodes.iter().flat_map(|it| std::iter::once(it.kind).chain(kinds(&it.children))).collect()
    }

    #[test]
    fn a_tree_goes_from_the_cluster_down_to_the_pods_once_somebody_has_looked() {
        let pod = PodStatus {
            name: "notes-1".to_owned(),
            activity: "starting".to_owned(),
            is_ready: false,
            is_stopping: false,
            reason: Some("0/1 nodes are available".to_owned()),
            restarts: 2,
            created_at: None,
            node: None,
        };
        let health = Health {
            live: LiveStatus { serving: Some((1, 2)), ..LiveStatus::default() },
            failure: None,
            parts: Some(ApplicationParts {
                pods: vec![pod],
                has_namespace: true,
                has_service: true,
                has_ingress: false,
                has_secret: None,
            }),
            cloud: CloudParts::default(),
            lacks_credentials: false,
            looked_at: jiff::Timestamp::UNIX_EPOCH,
        };

        let before = of(&a_deployment(), &a_record(), None);
        let seen = of(&a_deployment(), &a_record(), Some(&health));

        assert_eq!(kinds(&before), ["kind cluster", "Namespace", "Deployment", "Service"]);
        assert_eq!(kinds(&seen), ["kind cluster", "Namespace", "Deployment", "Pod", "Service"]);
        let application = &seen[0].children[0].children[0];
        assert_eq!(application.condition.as_ref().unwrap().word, "1 of 2 serve");
        let pod = &application.children[0];
        assert_eq!(pod.note.as_deref(), Some("started again 2 times, 0/1 nodes are available"));
        assert_eq!(pod.links.len(), 2);
    }

    #[test]
    fn what_aws_says_goes_before_what_answers_only_when_it_is_bad() {
        let answering = || Node::new("EKS cluster", "box").condition(Some(Condition::healthy("answers")));
        let going = CloudStatus::Impaired { word: "deleting".to_owned(), reason: None };
        let unasked = CloudStatus::Unknown("eks:DescribeCluster: not allowed".to_owned());

        let shown =
            [&CloudStatus::Working("active".to_owned()), &going, &unasked].map(|it| answering().in_cloud(Some(it)));

        let words = shown.each_ref().map(|it| it.condition.as_ref().unwrap().word.as_str());
        assert_eq!(words, ["answers", "deleting", "answers"]);
        assert_eq!(shown[2].note.as_deref(), Some("eks:DescribeCluster: not allowed"));
    }

    #[test]
    fn of_what_was_removed_there_is_no_tree() {
        let deployment = Deployment { state: DeploymentState::Removed, ..a_deployment() };

        assert_eq!(of(&deployment, &a_record(), None), Vec::new());
    }
}
