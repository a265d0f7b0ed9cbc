//! What holds objects that are to go: a finalizer stands for work that a controller has not done yet.

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, stream};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, NamespaceCondition, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams, PartialObjectMeta};

use crate::cloud::kube::delete::MetadataResource;
use crate::cloud::kube::{DEPLOYMENT, Kube};
use crate::id::DeploymentId;

/// How many objects a sentence names.
const MAX_NAMED: usize = 5;
/// The finalizer that every namespace has while it is emptied.
const OF_KUBERNETES: &str = "kubernetes";

impl Kube {
    /// What holds a namespace that is being deleted; `None` when that cannot be seen.
    pub(super) async fn holder_of_namespace(&self, namespace: &str) -> Option<String> {
        let api: Api<NamespaceObject> = Api::all(self.client.clone());
        let live = self.call(api.get(namespace)).await.ok()?;
        let conditions = live.status.as_ref().and_then(|it| it.conditions.as_deref()).unwrap_or_default();
        let own = live.spec.iter().flat_map(|it| it.finalizers.iter().flatten()).filter(|it| *it != OF_KUBERNETES);
        let own: Vec<String> = own.chain(live.finalizers()).cloned().collect();
        let mut held = self.held_in(namespace, &remaining_kinds(conditions)).await;
        held.extend((!own.is_empty()).then(|| with_finalizers("the namespace itself", &own)));
        in_words(&held).or_else(|| remaining_in_words(conditions))
    }

    /// What of a deployment finalizers hold; `None` when nothing is, or that cannot be seen.
    pub(super) async fn holder_of_deployment(&self, deployment: DeploymentId) -> Option<String> {
        let lists = join_all([
            self.held_of_kind::<Pod>(deployment).boxed(),
            self.held_of_kind::<ReplicaSet>(deployment).boxed(),
            self.held_of_kind::<Deployment>(deployment).boxed(),
            self.held_of_kind::<Service>(deployment).boxed(),
            self.held_of_kind::<Ingress>(deployment).boxed(),
            self.held_of_kind::<Secret>(deployment).boxed(),
        ])
        .await;
        in_words(&lists.concat())
    }

    async fn held_of_kind<K: MetadataResource>(&self, deployment: DeploymentId) -> Vec<String> {
        let api: Api<PartialObjectMeta<K>> = Api::all(self.client.clone());
        let params = ListParams::default().labels(&format!("{DEPLOYMENT}={deployment}"));
        let found = self.call(api.list(&params)).await.map(|list| list.items).unwrap_or_default();
        found.iter().filter_map(|it| held(&K::kind(&()), it)).collect()
    }

    /// The held objects of these kinds, each named as its plural and its group.
    async fn held_in(&self, namespace: &str, kinds: &[String]) -> Vec<String> {
        let Ok(all) = self.kinds().await else { return Vec::new() };
        let resources = all.resources().filter(|it| {
            let title = if it.group.is_empty() { it.plural.clone() } else { format!("{}.{}", it.plural, it.group) };
            kinds.contains(&title)
        });
        let lists = resources.map(|resource| async move {
            let api: Api<PartialObjectMeta<DynamicObject>> =
                Api::namespaced_with(self.client.clone(), namespace, resource);
            let found = self.call(api.list(&ListParams::default())).await.map(|list| list.items).unwrap_or_default();
            found.iter().filter_map(|it| held(&resource.kind, it)).collect::<Vec<_>>()
        });
        stream::iter(lists.collect::<Vec<_>>()).buffered(4).concat().await
    }
}

/// An object that is being deleted and has finalizers, with them.
fn held(kind: &str, object: &impl ResourceExt) -> Option<String> {
    let is_held = object.meta().deletion_timestamp.is_some() && !object.finalizers().is_empty();
    is_held.then(|| with_finalizers(&format!("{kind} `{}`", object.name_any()), object.finalizers()))
}

fn with_finalizers(what: &str, finalizers: &[String]) -> String {
    let named: Vec<String> = finalizers.iter().map(|it| format!("`{it}`")).collect();
    let plural = if named.len() == 1 { "" } else { "s" };
    format!("{what}, by the finalizer{plural} {}", named.join(", "))
}

fn in_words(held: &[String]) -> Option<String> {
    let more = if held.len() > MAX_NAMED { " and others" } else { "" };
    let named: Vec<&str> = held.iter().take(MAX_NAMED).map(String::as_str).collect();
    (!held.is_empty()).then(|| format!("{}{more}", named.join("; ")))
}

/// The kinds of which a namespace still has objects: `widgets.example.com has 1 resource instances`, and `configmaps. has 2
/// resource instances` for those without a group.
fn remaining_kinds(conditions: &[NamespaceCondition]) -> Vec<String> {
    let told = conditions.iter().filter(|it| it.type_ == "NamespaceContentRemaining" && it.status == "True");
    let parts = told.filter_map(|it| it.message.as_deref()).flat_map(|it| it.split(" has ").map(str::to_owned));
    let last_words = parts.filter_map(|part| part.split_whitespace().last().map(str::to_owned));
    last_words.map(|word| word.trim_end_matches('.').to_owned()).filter(|it| it != "instances").collect()
}

/// What the conditions of a namespace say about what is left in it.
fn remaining_in_words(conditions: &[NamespaceCondition]) -> Option<String> {
    let types = [
        "NamespaceFinalizersRemaining",
        "NamespaceContentRemaining",
        "NamespaceDeletionContentFailure",
        "NamespaceDeletionDiscoveryFailure",
    ];
    let told = |type_: &&str| conditions.iter().find(|it| it.type_ == **type_ && it.status == "True");
    types.iter().find_map(told).and_then(|it| it.message.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conditions(told: &[(&str, &str)]) -> Vec<NamespaceCondition> {
        let condition = |(type_, message): &(&str, &str)| json!({"type": type_, "status": "True", "message": message});
        serde_json::from_value(told.iter().map(condition).collect()).unwrap()
    }

    #[test]
    fn the_kinds_that_are_left_are_read_from_the_conditions() {
        let told = conditions(&[(
            "NamespaceContentRemaining",
            "Some resources are remaining: configmaps. has 2 resource instances, widgets.example.com has 1 resource instances",
        )]);

        assert_eq!(remaining_kinds(&told), ["configmaps", "widgets.example.com"]);
    }

    #[test]
    fn where_no_object_can_be_listed_the_condition_itself_is_told() {
        let message =
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances";
        let told = conditions(&[("NamespaceContentRemaining", "x"), ("NamespaceFinalizersRemaining", message)]);

        assert_eq!(remaining_in_words(&told).as_deref(), Some(message));
        assert_eq!(remaining_in_words(&[]), None);
    }

    #[test]
    fn only_what_is_being_deleted_is_held() {
        let object = |deleted: bool| -> Secret {
            let at = deleted.then_some("2026-01-01T00:00:00Z");
            serde_json::from_value(
                json!({"metadata": {"name": "keep", "finalizers": ["example.com/hold"], "deletionTimestamp": at}}),
            )
            .unwrap()
        };

        assert_eq!(
            held("Secret", &object(true)).as_deref(),
            Some("Secret `keep`, by the finalizer `example.com/hold`")
        );
        assert_eq!(held("Secret", &object(false)), None);
    }

    #[test]
    fn what_holds_is_named_up_to_a_limit() {
        let held: Vec<String> = (0..7).map(|it| format!("Secret `s{it}`")).collect();

        assert_eq!(in_words(&[]), None);
        assert!(in_words(&held).unwrap().ends_with("Secret `s4` and others"));
    }
}
