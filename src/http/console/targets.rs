//! What deployments run on: clusters and instances, with who uses them.

use axum::extract::State;
use axum::response::Html;
use serde::Serialize;

use super::render::{self, Heading};
use super::session::Viewer;
use super::text;
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::list::ListQuery;
use crate::id::{Mode, TargetId};
use crate::reply::view::TargetView;
use crate::store::page::PageRequest;
use crate::store::record::Target;

/// Where the page is.
const PLACE: &str = "/targets";
/// How many targets a page has.
const PAGE: u32 = 50;
/// How many deployments of each are named.
const MOST_USERS: usize = 10;

/// The page of targets.
#[derive(Debug, Serialize)]
struct TargetsPage {
    targets: Vec<TargetRow>,
    /// The first page, when this is another one.
    first_page: Option<String>,
    next_page: Option<String>,
}

/// A target, in a row.
#[derive(Debug, Serialize)]
struct TargetRow {
    id: String,
    name: String,
    mode: &'static str,
    /// What kind of thing it is.
    kind: &'static str,
    /// What is known of it beside its name.
    details: Vec<String>,
    region: Option<String>,
    made_here: bool,
    nodes: Option<u64>,
    known_since: String,
    cost: String,
    /// The operation that works on it.
    locked_by: Option<String>,
    users: Vec<User>,
    /// How many others use it.
    more_users: usize,
    /// Where all of them are.
    all_users: String,
}

/// A deployment on a target.
#[derive(Debug, Serialize)]
struct User {
    id: String,
    name: String,
    namespace: String,
    state: &'static str,
}

impl From<TargetView> for TargetRow {
    fn from(TargetView { target, nodes, cost, deployments }: TargetView) -> Self {
        let users = deployments.iter().take(MOST_USERS).map(|it| User {
            id: it.id.to_string(),
            name: it.name.to_string(),
            namespace: it.namespace.to_string(),
            state: it.state.as_str(),
        });
        Self {
            id: target.id.to_string(),
            mode: target.mode.as_str(),
            kind: match target.mode {
                Mode::Local => "kind cluster on this machine",
                Mode::CloudLocal => "EC2 instance with a kind cluster",
                Mode::CloudHosted => "EKS cluster",
            },
            details: details(&target),
            region: target.region.as_ref().map(ToString::to_string),
            made_here: target.made_here,
            nodes,
            known_since: target.id.created_at().to_string(),
            cost: cost.in_words(ToString::to_string),
            locked_by: target.locked_by.map(|it| it.to_string()),
            users: users.collect(),
            more_users: deployments.len().saturating_sub(MOST_USERS),
            all_users: text::address("/", [("q", Some(target.name.clone()))]),
            name: target.name,
        }
    }
}

/// What is known of the instance or the cluster.
fn details(target: &Target) -> Vec<String> {
    let account = |number: &str| format!("account {number}");
    let instance = target.instance.iter();
    let instance = instance.flat_map(|it| [it.id.clone(), it.public_ip.to_string(), account(&it.account)]);
    let cluster = target.cluster.iter();
    let cluster = cluster.flat_map(|it| [format!("Kubernetes {}", it.version), it.vpc.clone(), account(&it.account)]);
    instance.chain(cluster).collect()
}

/// Shows the targets that are there, newest first.
pub(super) async fn show(State(app): State<App>, viewer: Viewer, query: ListQuery) -> Result<Html<String>, ApiError> {
    let after = query.read("after", "the id of a target", |text| TargetId::parse(text).ok())?;
    let page = app.targets(&viewer.caller, &PageRequest { after, limit: PAGE }).await?;
    let last = page.items.last().map(|it| it.target.id.to_string()).filter(|_| page.has_more);
    let values = TargetsPage {
        first_page: after.map(|_| PLACE.to_owned()),
        next_page: last.map(|it| text::address(PLACE, [("after", Some(it))])),
        targets: page.items.into_iter().map(TargetRow::from).collect(),
    };
    render::page(&viewer, "targets.html", Heading { title: "Targets", place: PLACE }, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::operation::tests::a_deployment;
    use crate::reply::view::TargetCost;

    #[test]
    fn a_target_tells_since_when_it_is_known_and_who_uses_it() {
        let target = Target {
            id: TargetId::parse("tgt_018bcfe568007000800000000000000c").unwrap(),
            mode: Mode::Local,
            name: "on-demand-infra".to_owned(),
            made_here: true,
            locked_by: None,
            region: None,
            instance: None,
            cluster: None,
        };
        let view = TargetView { target, nodes: Some(1), cost: TargetCost::Nothing, deployments: vec![a_deployment()] };

        let row = TargetRow::from(view);

        assert_eq!((row.known_since.as_str(), row.cost.as_str()), ("2023-11-14T22:13:20Z", "nothing"));
        assert_eq!((row.users[0].name.as_str(), row.users[0].state), ("notes", "running"));
        assert_eq!((row.more_users, row.all_users.as_str()), (0, "/?q=on-demand-infra"));
    }
}
