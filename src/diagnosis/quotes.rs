//! What nodes and controllers say in their own words, without secrets: a container runtime repeats the command that it was to
//! run, with the values of variables in it.

use k8s_openapi::api::core::v1::{ContainerState, Pod};

use crate::cloud::kube::snapshot::Snapshot;
use crate::secret::Redactor;

/// Redacts every message of a snapshot; names, states and reasons stay, which the diagnosis goes by.
pub(super) fn redact_messages(snapshot: &mut Snapshot, redactor: &Redactor) {
    let redact = |message: Option<&mut String>| {
        if let Some(message) = message {
            *message = redactor.redact(message).into_owned();
        }
    };
    let conditions = snapshot.deployment.status.iter_mut().flat_map(|it| it.conditions.iter_mut().flatten());
    conditions.for_each(|condition| redact(condition.message.as_mut()));
    snapshot.events.iter_mut().for_each(|event| redact(event.message.as_mut()));
    for message in snapshot.pods.values_mut().flat_map(messages) {
        redact(Some(message));
    }
}

/// All messages in the status of a pod.
fn messages(pod: &mut Pod) -> Vec<&mut String> {
    let Some(status) = &mut pod.status else { return Vec::new() };
    let conditions = status.conditions.iter_mut().flatten().filter_map(|it| it.message.as_mut());
    let containers = status.container_statuses.iter_mut().chain(&mut status.init_container_statuses).flatten();
    let told = containers.flat_map(|it| [it.state.as_mut(), it.last_state.as_mut()]).flatten();
    status.message.iter_mut().chain(conditions).chain(told.filter_map(message)).collect()
}

fn message(state: &mut ContainerState) -> Option<&mut String> {
    let waiting = state.waiting.as_mut().and_then(|it| it.message.as_mut());
    waiting.or_else(|| state.terminated.as_mut().and_then(|it| it.message.as_mut()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use secrecy::SecretString;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn messages_lose_their_secrets_and_all_else_stays() {
        let state = |message: &str| json!({"waiting": {"reason": "Running", "message": message}});
        let pod = |text: &str| {
            json!({
                "metadata": {"name": "Running"},
                "status": {
                    "phase": "Running",
                    "message": text,
                    "conditions": [{"type": "Ready", "status": "False", "message": text}],
                    "containerStatuses": [{
                        "name": "Running", "image": "", "imageID": "", "ready": false, "restartCount": 1, "state": state(text),
                        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": text}},
                    }],
                },
            })
        };
        let deployment = |text: &str| {
            let condition = json!({"type": "ReplicaFailure", "status": "True", "message": text});
            json!({"metadata": {"name": "Running"}, "status": {"conditions": [condition]}})
        };
        let event = |text: &str| json!({"metadata": {}, "involvedObject": {}, "reason": "Running", "message": text});
        let snapshot = |text: &str| {
            let pod: Pod = serde_json::from_value(pod(text)).unwrap();
            Snapshot {
                deployment: serde_json::from_value(deployment(text)).unwrap(),
                pods: BTreeMap::from([("Running".to_owned(), pod)]),
                events: vec![serde_json::from_value(event(text)).unwrap()],
            }
        };
        let shown = |it: &Snapshot| -> Value { json!([it.deployment, it.pods, it.events]) };

        let mut redacted = snapshot("exec: Running");
        redact_messages(&mut redacted, &Redactor::new().with([&SecretString::from("Running")]));

        assert_eq!(shown(&redacted), shown(&snapshot("exec: ***")));
    }
}
