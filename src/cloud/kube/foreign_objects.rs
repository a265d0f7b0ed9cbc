//! What a namespace holds beside the objects of one deployment.
//!
//! The deletion of a namespace takes everything in it, so the API is asked which kinds there are, custom resources and
//! aggregated APIs included, and each is listed by its metadata. A kind that cannot be listed may have something there.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PartialObjectMeta};
use kube::core::discovery::v2::APIGroupDiscovery;

use crate::cloud::kube::error::KubeError;
use crate::cloud::kube::{DEPLOYMENT, Kube};
use crate::id::{DeploymentId, Namespace};

/// How many kinds are listed at the same time.
const CONCURRENT_LISTS: usize = 8;
/// How many objects of a kind are listed at once. One that counts is enough, so mostly the first page is all.
const PAGE_SIZE: u32 = 20;
/// How long one kind may take: the server of an aggregated API may be down.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// Before the one more try that a kind gets.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How many objects a sentence names.
const MAX_NAMED: usize = 10;

/// API groups that compute what they show and keep nothing. The server behind them, which a cluster may lack for long,
/// need not answer.
const COMPUTED_GROUPS: [&str; 3] = ["metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"];

/// Kinds, by API group and plural, that Kubernetes derives from others, or that tell what happened (both groups show the
/// same Events, which expire): endpoints belong to a Service, which counts itself.
const DERIVED_KINDS: [(&str, &str); 4] =
    [("", "events"), ("events.k8s.io", "events"), ("", "endpoints"), ("discovery.k8s.io", "endpointslices")];

/// What Kubernetes puts into every namespace, by API group, plural and name.
///
/// That is all that a new namespace holds, on kind and on EKS: the token Secret of the default account is not made since
/// 1.24, a Lease of Kubernetes' own lies in `kube-node-lease` or `kube-system` (one elsewhere is somebody's election), and
/// what EKS adds is in `kube-system`, without a namespace, or (a `PolicyEndpoint`) owned by what somebody made.
const DEFAULT_OBJECTS: [(&str, &str, &str); 2] =
    [("", "serviceaccounts", "default"), ("", "configmaps", "kube-root-ca.crt")];

type Metadata = PartialObjectMeta<DynamicObject>;

/// What a namespace holds beside the objects of one deployment.
#[derive(Debug, Default)]
pub(super) struct ForeignObjects {
    /// Kind and name, of each kind at least one.
    objects: BTreeSet<(String, String)>,
    /// Kinds that may have something there, and why that is not known.
    unknown: BTreeSet<String>,
}

impl ForeignObjects {
    /// Why the namespace has to stay; `None` when nothing else is in it.
    pub(super) fn reason(&self) -> Option<String> {
        let named = self.objects.iter().take(MAX_NAMED).map(|(kind, name)| format!("{kind} `{name}`"));
        let mut named = named.collect::<Vec<_>>().join(", ");
        if self.objects.len() > MAX_NAMED {
            named += " and others";
        }
        let holds = (!self.objects.is_empty()).then(|| format!("it also holds {named}"));
        let unknown = self.unknown.iter().cloned().collect::<Vec<_>>().join(", ");
        let unknown = (!self.unknown.is_empty()).then(|| format!("not everything in it can be listed: {unknown}"));
        let reasons: Vec<String> = holds.into_iter().chain(unknown).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// A kind of the API.
#[derive(Debug, Clone)]
struct Kind {
    resource: ApiResource,
    is_namespaced: bool,
    /// Whether it is stored, and for its own sake: it can be listed and deleted.
    is_kept: bool,
}

/// All kinds of the API.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    kinds: Vec<Kind>,
    /// APIs whose kinds are not known now.
    unknown: Vec<String>,
}

/// An object that counts.
struct Found {
    kind: String,
    name: String,
    uid: String,
    owners: Vec<String>,
}

impl Kube {
    /// Looks for what a namespace holds that is neither of this deployment nor made by Kubernetes itself.
    ///
    /// # Errors
    /// When the API does not answer at all.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(super) async fn foreign_objects(
        &self,
        namespace: &Namespace,
        deployment: DeploymentId,
    ) -> Result<ForeignObjects, KubeError> {
        let all = match self.kinds().await {
            Ok(all) => all,
            Err(error) if is_api_down(&error) || error.is_transient() => return Err(error),
            Err(error) => Kinds { unknown: vec![cannot_be_listed("its kinds", &error)], ..Kinds::default() },
        };
        let kept = all.kinds.iter().filter(|it| it.is_namespaced && it.is_kept);
        let lists = kept.map(|kind| self.foreign_of_kind(namespace, deployment, kind, &all));
        let lists: Vec<Result<Vec<Found>, String>> =
            stream::iter(lists.collect::<Vec<_>>()).buffer_unordered(CONCURRENT_LISTS).try_collect().await?;
        let mut foreign = ForeignObjects { unknown: all.unknown.into_iter().collect(), ..ForeignObjects::default() };
        let mut found = Vec::new();
        for list in lists {
            match list {
                Ok(objects) => found.extend(objects),
                Err(unknown) => drop(foreign.unknown.insert(unknown)),
            }
        }
        // What hangs by another object that counts need not be named.
        let uids: BTreeSet<&str> = found.iter().map(|it| it.uid.as_str()).collect();
        let roots = found.iter().filter(|it| !it.owners.iter().any(|owner| uids.contains(owner.as_str())));
        foreign.objects = roots.map(|it| (it.kind.clone(), it.name.clone())).collect();
        Ok(foreign)
    }

    /// Asks the API for its kinds, in two requests.
    pub(super) async fn kinds(&self) -> Result<Kinds, KubeError> {
        let (core, groups) = tokio::try_join!(
            self.call(self.client.list_core_api_versions_aggregated()),
            self.call(self.client.list_api_groups_aggregated()),
        )?;
        if core.items.is_empty() || groups.items.is_empty() {
            // Kubernetes before 1.26 answers with a list of another kind, which has no items.
            let unknown = vec!["its kinds (the API does not tell them)".to_owned()];
            return Ok(Kinds { unknown, ..Kinds::default() });
        }
        Ok(Kinds::read(core.items.iter().chain(&groups.items)))
    }

    /// Some objects of a kind that count, or why that is not known.
    async fn foreign_of_kind(
        &self,
        namespace: &Namespace,
        deployment: DeploymentId,
        kind: &Kind,
        all: &Kinds,
    ) -> Result<Result<Vec<Found>, String>, KubeError> {
        let list = || async {
            let listed = self.list_foreign(namespace, deployment, kind, all);
            let too_long = |_| KubeError::Timeout { what: "a list".to_owned(), after_s: LIST_TIMEOUT.as_secs() };
            tokio::time::timeout(LIST_TIMEOUT, listed).await.map_err(too_long)?
        };
        let mut listed = list().await;
        if matches!(listed, Err(KubeError::Unavailable { .. })) {
            tokio::time::sleep(RETRY_PAUSE).await;
            listed = list().await;
        }
        match listed {
            Ok(found) => Ok(Ok(found)),
            // The kind itself went since it was told.
            Err(KubeError::NotFound { .. }) => Ok(Ok(Vec::new())),
            Err(error) if is_api_down(&error) => Err(error),
            Err(error) => Ok(Err(cannot_be_listed(&kind.title(), &error))),
        }
    }

    /// Goes through the objects of a kind until a page has some that count.
    async fn list_foreign(
        &self,
        namespace: &Namespace,
        deployment: DeploymentId,
        kind: &Kind,
        all: &Kinds,
    ) -> Result<Vec<Found>, KubeError> {
        let api: Api<Metadata> = Api::namespaced_with(self.client.clone(), namespace.as_str(), &kind.resource);
        let mut params = ListParams::default().labels(&format!("{DEPLOYMENT}!={deployment}")).limit(PAGE_SIZE);
        loop {
            let page = self.call(api.list(&params)).await?;
            let mut found = Vec::new();
            for object in page.items.iter().filter(|it| !kind.is_default(&it.name_any())) {
                if self.is_foreign(namespace, deployment, object, all).await {
                    found.push(Found {
                        kind: kind.resource.kind.clone(),
                        name: object.name_any(),
                        uid: object.uid().unwrap_or_default(),
                        owners: object.owner_references().iter().map(|it| it.uid.clone()).collect(),
                    });
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) if found.is_empty() => params = params.continue_token(&token),
                Some(_) | None => return Ok(found),
            }
        }
    }

    /// Whether an object without our label counts: one all of whose owners are ours, or gone, is about to be collected
    /// as garbage by Kubernetes.
    async fn is_foreign(
        &self,
        namespace: &Namespace,
        deployment: DeploymentId,
        object: &Metadata,
        all: &Kinds,
    ) -> bool {
        let owners = object.owner_references();
        for owner in owners {
            if self.is_owner_foreign(namespace, deployment, owner, all).await {
                return true;
            }
        }
        owners.is_empty()
    }

    async fn is_owner_foreign(
        &self,
        namespace: &Namespace,
        deployment: DeploymentId,
        owner: &OwnerReference,
        all: &Kinds,
    ) -> bool {
        // What cannot be looked at may be there.
        let Some(kind) = all.find(owner) else { return true };
        let api: Api<Metadata> = if kind.is_namespaced {
            Api::namespaced_with(self.client.clone(), namespace.as_str(), &kind.resource)
        } else {
            Api::all_with(self.client.clone(), &kind.resource)
        };
        match self.call(api.get_opt(&owner.name)).await {
            Ok(Some(live)) => {
                let is_ours = live.labels().get(DEPLOYMENT).is_some_and(|it| *it == deployment.to_string());
                live.uid().as_ref() == Some(&owner.uid) && !is_ours
            }
            Ok(None) => false,
            Err(_) => true,
        }
    }
}

impl Kinds {
    /// Reads what the API tells: each kind in the version that it prefers.
    fn read<'a>(groups: impl IntoIterator<Item = &'a APIGroupDiscovery>) -> Self {
        let mut all = Self::default();
        for group in groups {
            let name = group.metadata.as_ref().and_then(|it| it.name.clone()).unwrap_or_default();
            if COMPUTED_GROUPS.contains(&name.as_str()) {
                continue;
            }
            let mut seen = BTreeSet::new();
            for served in &group.versions {
                let version = served.version.clone().unwrap_or_default();
                if served.freshness.as_deref() == Some("Stale") {
                    all.unknown.push(format!("`{name}/{version}` (its server does not answer)"));
                }
                for it in &served.resources {
                    let plural = it.resource.clone().unwrap_or_default();
                    if plural.is_empty() || !seen.insert(plural.clone()) {
                        continue;
                    }
                    let can = |verb: &str| it.verbs.iter().any(|it| it == verb);
                    let is_derived = DERIVED_KINDS.contains(&(name.as_str(), plural.as_str()));
                    let kind = it.response_kind.as_ref().and_then(|it| it.kind.clone()).unwrap_or_default();
                    let api_version = if name.is_empty() { version.clone() } else { format!("{name}/{version}") };
                    all.kinds.push(Kind {
                        is_namespaced: it.scope.as_deref() == Some("Namespaced"),
                        is_kept: can("list") && can("delete") && !is_derived,
                        resource: ApiResource {
                            group: name.clone(),
                            version: version.clone(),
                            api_version,
                            kind,
                            plural,
                        },
                    });
                }
            }
        }
        all
    }

    /// The kinds of objects that are stored in namespaces for their own sake.
    pub(super) fn resources(&self) -> impl Iterator<Item = &ApiResource> {
        self.kinds.iter().filter(|it| it.is_namespaced && it.is_kept).map(|it| &it.resource)
    }

    /// The kind of an owner.
    fn find(&self, owner: &OwnerReference) -> Option<&Kind> {
        let group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        self.kinds.iter().find(|it| it.resource.group == group && it.resource.kind == owner.kind)
    }
}

impl Kind {
    /// Its name, as kubectl takes it.
    fn title(&self) -> String {
        let ApiResource { group, plural, .. } = &self.resource;
        if group.is_empty() { format!("`{plural}`") } else { format!("`{plural}.{group}`") }
    }

    fn is_default(&self, name: &str) -> bool {
        let ApiResource { group, plural, .. } = &self.resource;
        DEFAULT_OBJECTS.contains(&(group.as_str(), plural.as_str(), name))
    }
}

fn cannot_be_listed(what: &str, error: &KubeError) -> String {
    if matches!(error, KubeError::Forbidden { .. }) {
        format!("{what} (our account may not)")
    } else if let KubeError::Unavailable { message, .. } = error {
        format!("{what} ({message})")
    } else {
        format!("{what} ({error})")
    }
}

/// Whether it is the API itself that cannot be used, and not one kind of it.
fn is_api_down(error: &KubeError) -> bool {
    matches!(
        error,
        KubeError::Kubeconfig(_)
            | KubeError::Refused { .. }
            | KubeError::Unreachable { .. }
            | KubeError::Certificate { .. }
            | KubeError::Unauthorized
            | KubeError::Cancelled
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resource(plural: &str, kind: &str, scope: &str, verbs: &[&str]) -> Value {
        json!({"resource": plural, "scope": scope, "verbs": verbs, "responseKind": {"group": "", "version": "", "kind": kind}})
    }

    fn read(groups: Value) -> Kinds {
        let groups: Vec<APIGroupDiscovery> = serde_json::from_value(groups).unwrap();
        Kinds::read(&groups)
    }

    /// The kinds that are listed, with the version that they are listed in.
    fn listed(kinds: &Kinds) -> Vec<String> {
        let kept = kinds.kinds.iter().filter(|it| it.is_kept && it.is_namespaced);
        kept.map(|it| format!("{} {}", it.resource.api_version, it.title())).collect()
    }

    #[test]
    fn what_is_listed_is_what_is_stored_in_namespaces_for_its_own_sake() {
        let kinds = read(json!([
            {"metadata": {}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
                resource("pods", "Pod", "Namespaced", &["list", "delete"]),
                resource("events", "Event", "Namespaced", &["list", "delete"]),
                resource("endpoints", "Endpoints", "Namespaced", &["list", "delete"]),
                resource("bindings", "Binding", "Namespaced", &["create"]),
                resource("nodes", "Node", "Cluster", &["list", "delete"]),
            ]}]},
            {"metadata": {"name": "example.com"}, "versions": [
                {"version": "v1", "resources": [resource("widgets", "Widget", "Namespaced", &["list", "delete"])]},
                {"version": "v1beta1", "resources": [
                    resource("widgets", "Widget", "Namespaced", &["list", "delete"]),
                    resource("gadgets", "Gadget", "Namespaced", &["list", "delete"]),
                ]},
            ]},
            {"metadata": {"name": "metrics.k8s.io"}, "versions": [{"version": "v1beta1", "freshness": "Stale"}]},
        ]));

        assert_eq!(
            listed(&kinds),
            ["v1 `pods`", "example.com/v1 `widgets.example.com`", "example.com/v1beta1 `gadgets.example.com`"]
        );
        assert_eq!(kinds.unknown, Vec::<String>::new());
    }

    #[test]
    fn an_api_whose_server_is_down_may_have_something_there() {
        let kinds =
            read(json!([{"metadata": {"name": "example.com"}, "versions": [{"version": "v1", "freshness": "Stale"}]}]));
        let foreign = ForeignObjects { unknown: kinds.unknown.into_iter().collect(), ..ForeignObjects::default() };

        assert_eq!(
            foreign.reason().unwrap(),
            "not everything in it can be listed: `example.com/v1` (its server does not answer)"
        );
    }

    #[test]
    fn an_owner_is_found_in_whatever_version_it_is_served() {
        let kinds = read(json!([{"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
            resource("deployments", "Deployment", "Namespaced", &["list", "delete"]),
        ]}]}]));
        let owner = |api_version: &str| OwnerReference {
            api_version: api_version.to_owned(),
            kind: "Deployment".to_owned(),
            ..OwnerReference::default()
        };

        assert!(kinds.find(&owner("apps/v1beta1")).is_some());
        assert!(kinds.find(&owner("v1")).is_none());
    }

    #[test]
    fn what_keeps_a_namespace_is_named_up_to_a_limit() {
        let named = |count: usize| ForeignObjects {
            objects: (0..count).map(|it| ("Role".to_owned(), format!("r{it:02}"))).collect(),
            ..ForeignObjects::default()
        };

        assert_eq!(named(0).reason(), None);
        assert_eq!(named(2).reason().unwrap(), "it also holds Role `r00`, Role `r01`");
        assert!(named(11).reason().unwrap().ends_with("Role `r09` and others"));
    }

    #[test]
    fn what_every_namespace_has_does_not_count() {
        let kinds = read(json!([{"metadata": {}, "versions": [{"version": "v1", "resources": [
            resource("configmaps", "ConfigMap", "Namespaced", &["list", "delete"]),
        ]}]}]));

        assert!(kinds.kinds[0].is_default("kube-root-ca.crt"));
        assert!(!kinds.kinds[0].is_default("default"));
    }
}
