//! What there is to run on: targets, with who uses them. From the store alone: nobody is asked.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cost::cost_of_target;
use super::{App, AppError};
use crate::access::Caller;
use crate::id::{Mode, TargetId};
use crate::reply::view::TargetView;
use crate::store::deployments::NodesOnRecord;
use crate::store::page::{Page, PageRequest};
use crate::store::record::{Deployment, Target};
use crate::tool::terraform::module;

impl App {
    /// A page of the targets that are there, newest first. Whoever does not see everything sees those that a deployment in
    /// sight is on.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn targets(&self, caller: &Caller, wanted: &PageRequest<TargetId>) -> Result<Page<TargetView>, AppError> {
        let store = &self.0.store;
        let Page { items, has_more } = store.targets(caller.limits(), wanted).await?;
        let shown: BTreeSet<TargetId> = items.iter().map(|it| it.id).collect();
        let mut nodes = store.nodes_on_record(&shown, module::CLOUD_HOSTED).await?;
        let mut on_target: BTreeMap<TargetId, Vec<Deployment>> = BTreeMap::new();
        for deployment in store.deployments_on(&shown).await? {
            on_target.entry(deployment.target).or_default().push(deployment);
        }
        let view = |target: Target| {
            let mut deployments = on_target.remove(&target.id).unwrap_or_default();
            let cost = cost_of_target(&target, &deployments);
            deployments.retain(|it| caller.sees(Some(it.mode), it.namespace.as_str()));
            let nodes = nodes.remove(&target.id).and_then(|it| count(target.mode, &it));
            TargetView { target, nodes, cost, deployments }
        };
        Ok(Page { items: items.into_iter().map(view).collect(), has_more })
    }
}

/// How many nodes a cluster was made with; `None` when that is not on record.
fn count(mode: Mode, nodes: &NodesOnRecord) -> Option<u64> {
    match mode {
        Mode::Local | Mode::CloudLocal => nodes.containers.as_ref().and_then(|it| u64::try_from(it.len()).ok()),
        Mode::CloudHosted => nodes.variables.as_ref()?.get("nodes")?.get("desired").and_then(Value::as_u64),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_are_counted_by_their_containers_or_as_they_were_asked_for() {
        let variables = json!({"nodes": {"desired": 3}}).as_object().cloned();
        let nodes = NodesOnRecord { containers: Some(vec!["one".to_owned()]), variables };

        assert_eq!([Mode::Local, Mode::CloudHosted].map(|it| count(it, &nodes)), [Some(1), Some(3)]);
        assert_eq!(count(Mode::CloudHosted, &NodesOnRecord::default()), None);
    }
}
