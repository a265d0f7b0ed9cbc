//! `/`: every deployment, and what goes on now. All of it is on record: nobody is asked.

use axum::extract::State;
use axum::response::{Html, Response};
use jiff::Timestamp;
use serde::Serialize;
use strum::VariantArray;

use super::live;
use super::naming::deployment_name;
use super::open_pages::OpenPages;
use super::render::{self, Heading};
use super::session::Viewer;
use super::text::{self, one_of, verb};
use crate::access::Caller;
use crate::app::App;
use crate::app::overview::{DeploymentView, FailedDeploy};
use crate::event::OperationState;
use crate::http::error::ApiError;
use crate::http::limit::Streams;
use crate::http::list::ListQuery;
use crate::http::models::DEFAULT_MODEL;
use crate::id::{DeploymentId, Mode, Namespace, OperationId};
use crate::reply::view::{OperationView, StepState, TargetCost};
use crate::store::deployments::DeploymentFilter;
use crate::store::operation_summaries::OperationSummary;
use crate::store::page::PageRequest;
use crate::store::record::{Deployment, DeploymentState};
use crate::store::unreadable::UnreadableDeployment;

/// How many deployments a page has.
const PAGE: u32 = 50;
/// The longest text that is looked for.
const LONGEST_TEXT: usize = 200;

/// What is looked for, as it stands in the address.
#[derive(Debug, Clone, Default, Serialize)]
struct Search {
    q: Option<String>,
    namespace: Option<Namespace>,
    mode: Option<Mode>,
    state: Option<DeploymentState>,
    after: Option<DeploymentId>,
}

impl Search {
    fn read(query: &ListQuery) -> Result<Self, ApiError> {
        let text = |text: &str| (text.chars().count() <= LONGEST_TEXT).then(|| text.trim().to_owned());
        let states: Vec<&str> = DeploymentState::VARIANTS.iter().map(|it| it.as_str()).collect();
        let modes: Vec<&str> = Mode::ALL.iter().map(|it| it.as_str()).collect();
        Ok(Self {
            q: query.read("q", "a text of at most 200 characters", text)?.filter(|it| !it.is_empty()),
            namespace: query.read("namespace", Namespace::RULE, |text| Namespace::parse(text.trim()).ok())?,
            mode: query.read("mode", &one_of(&modes), |text| Mode::parse(text).ok())?,
            state: query.read("state", &one_of(&states), DeploymentState::parse)?,
            after: query.read("after", "the id of a deployment", |text| DeploymentId::parse(text).ok())?,
        })
    }

    fn filter(&self) -> DeploymentFilter {
        DeploymentFilter { state: self.state, mode: self.mode, namespace: self.namespace.clone(), text: self.q.clone() }
    }

    /// Whether not all deployments are looked for that are there.
    fn is_narrow(&self) -> bool {
        let Self { q, namespace, mode, state, after } = self;
        q.is_some() || namespace.is_some() || mode.is_some() || state.is_some() || after.is_some()
    }

    /// The address of the same search.
    fn address(&self, path: &str, after: Option<DeploymentId>) -> String {
        let values = [
            ("q", self.q.clone()),
            ("namespace", self.namespace.as_ref().map(ToString::to_string)),
            ("mode", self.mode.map(|it| it.to_string())),
            ("state", self.state.map(|it| it.as_str().to_owned())),
            ("after", after.map(|it| it.to_string())),
        ];
        text::address(path, values)
    }
}

/// The page.
#[derive(Debug, Serialize)]
struct Overview {
    search: Search,
    modes: &'static [Mode],
    states: &'static [DeploymentState],
    /// Where its live part comes from.
    stream: String,
    #[serde(flatten)]
    live: Live,
}

/// What of the page changes by itself.
#[derive(Debug, Serialize)]
struct Live {
    page_title: String,
    page_state: &'static str,
    open: Vec<OpenRow>,
    /// There are more of them.
    has_more_open: bool,
    failed: Vec<FailedRow>,
    rows: Vec<Row>,
    is_narrow: bool,
    first_page: Option<String>,
    next_page: Option<String>,
    /// Where the API is, for whoever has no deployment yet.
    base: String,
    needs_key: bool,
    model: &'static str,
}

/// An operation that goes on, or that is stuck.
#[derive(Debug, Serialize)]
struct OpenRow {
    id: OperationId,
    action: &'static str,
    state: OperationState,
    progress: u8,
    deployment: Option<String>,
    /// The steps that are under way.
    steps: String,
    created_at: Timestamp,
}

/// A first deploy that failed, of which nothing is in the list.
#[derive(Debug, Serialize)]
struct FailedRow {
    deployment: DeploymentId,
    operation: OperationId,
    name: String,
    namespace: String,
    at: Timestamp,
}

/// A deployment in the list.
#[derive(Debug, Serialize)]
struct Row {
    id: DeploymentId,
    name: String,
    namespace: String,
    mode: Option<Mode>,
    target: String,
    state: DeploymentState,
    is_well: bool,
    address: Option<String>,
    commit: Option<String>,
    revision: Option<u32>,
    deployed_at: Option<Timestamp>,
    replicas: Option<u16>,
    price: String,
    operation: Option<LastOperation>,
    unreadable: Option<String>,
}

/// An operation in one line.
#[derive(Debug, Serialize)]
pub(super) struct LastOperation {
    id: OperationId,
    action: &'static str,
    state: OperationState,
    at: Timestamp,
}

impl From<&OperationSummary> for LastOperation {
    fn from(it: &OperationSummary) -> Self {
        let action = verb(it.action.as_str());
        Self { id: it.id, action, state: it.state, at: it.ended_at.unwrap_or(it.created_at) }
    }
}

impl From<OperationView> for OpenRow {
    fn from(view: OperationView) -> Self {
        let is_under_way = |state: StepState| matches!(state, StepState::Running | StepState::Undoing);
        let steps = view.steps.into_iter().filter(|it| is_under_way(it.state)).map(|it| it.title);
        let steps = steps.collect::<Vec<_>>().join(", ");
        let deployment = view.deployment.as_ref().map(deployment_name);
        match view.operation {
            Ok(it) => Self {
                id: it.id,
                action: verb(it.action.as_str()),
                state: it.state,
                progress: it.progress,
                deployment,
                steps,
                created_at: it.created_at,
            },
            Err(it) => Self {
                id: it.id,
                action: it.action.map_or("an operation of another version", |action| verb(action.as_str())),
                // Of a state that is not known a person has to make something.
                state: it.state.unwrap_or(OperationState::Stuck),
                progress: it.progress,
                deployment,
                steps,
                created_at: it.created_at,
            },
        }
    }
}

impl From<FailedDeploy> for FailedRow {
    fn from(FailedDeploy { deployment, operation }: FailedDeploy) -> Self {
        Self {
            deployment: deployment.id,
            operation: operation.id,
            name: deployment.name.to_string(),
            namespace: deployment.namespace.to_string(),
            at: operation.ended_at.unwrap_or(deployment.updated_at),
        }
    }
}

impl From<DeploymentView> for Row {
    fn from(DeploymentView { deployment, cost, operation }: DeploymentView) -> Self {
        let price = cost.unwrap_or(TargetCost::Unknown).in_words(|it| format!("{:.3} {}", it.hour, it.currency));
        let operation = operation.as_ref().map(LastOperation::from);
        match deployment {
            Ok(it) => Self::readable(&it, price, operation),
            Err(it) => Self::unreadable(it, price),
        }
    }
}

impl Row {
    fn readable(it: &Deployment, price: String, operation: Option<LastOperation>) -> Self {
        let version = it.facts.version.as_ref();
        Self {
            id: it.id,
            name: it.name.to_string(),
            namespace: it.namespace.to_string(),
            mode: Some(it.mode),
            target: it.target_name.clone(),
            state: it.state,
            is_well: it.facts.concerns.is_empty(),
            address: web_address(it).map(str::to_owned),
            commit: version.map(|it| it.commit.short().to_owned()),
            revision: version.map(|it| it.revision),
            deployed_at: version.map(|it| it.deployed_at),
            replicas: it.facts.replicas,
            price,
            operation,
            unreadable: None,
        }
    }

    fn unreadable(it: UnreadableDeployment, price: String) -> Self {
        Self {
            id: it.id,
            name: it.name,
            namespace: it.namespace,
            mode: it.mode,
            target: it.target_name,
            state: it.state.unwrap_or(DeploymentState::Failed),
            is_well: true,
            address: None,
            commit: None,
            revision: None,
            deployed_at: None,
            replicas: None,
            price,
            operation: None,
            unreadable: Some(it.cause.to_string()),
        }
    }
}

/// Where a browser finds the application.
pub(super) fn web_address(deployment: &Deployment) -> Option<&str> {
    let is_there = deployment.state != DeploymentState::Removed;
    let address = deployment.facts.app_url.as_deref().filter(|_| is_there)?;
    (address.starts_with("http://") || address.starts_with("https://")).then_some(address)
}

/// Shows the page.
pub(super) async fn show(State(app): State<App>, viewer: Viewer, query: ListQuery) -> Result<Html<String>, ApiError> {
    let search = Search::read(&query)?;
    let live = look(&app, &viewer.caller, &search).await?;
    let values = Overview {
        stream: search.address("/overview/stream", search.after),
        modes: Mode::ALL,
        states: DeploymentState::VARIANTS,
        search,
        live,
    };
    render::page(&viewer, "overview.html", Heading { title: "Deployments", place: "/" }, values)
}

/// Sends its live part whenever it has changed.
pub(super) async fn stream(
    State(app): State<App>,
    State(streams): State<Streams>,
    State(pages): State<OpenPages>,
    viewer: Viewer,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let search = Search::read(&query)?;
    let browser = viewer.browser.clone();
    let looker = app.clone();
    let part = move || {
        let (app, viewer, search) = (looker.clone(), viewer.clone(), search.clone());
        async move {
            let live = look(&app, &viewer.caller, &search).await?;
            render::part(&viewer, "overview_live.html", live)
        }
    };
    live::stream(&app, &streams, &pages, &browser, live::changes(&app, &pages), part)
}

async fn look(app: &App, caller: &Caller, search: &Search) -> Result<Live, ApiError> {
    let wanted = PageRequest { after: search.after, limit: PAGE };
    let page = app.overview(caller, &search.filter(), &wanted).await?;
    // Whoever looks for something has no need of what is left out of the whole list.
    let failed = if search.is_narrow() { Vec::new() } else { app.failed_deploys(caller, &page.items).await? };
    let open_page = app.open_operations(caller).await?;
    let open: Vec<OpenRow> = open_page.items.into_iter().map(OpenRow::from).collect();
    let rows: Vec<Row> = page.items.into_iter().map(Row::from).collect();
    let going_on = open.iter().filter(|it| it.state != OperationState::Stuck).count();
    let last = rows.last().map(|it| it.id).filter(|_| page.has_more);
    let server = &app.settings().server;
    let public = server.public_url.as_ref().map(|it| it.as_str().trim_end_matches('/').to_owned());
    Ok(Live {
        page_title: if going_on == 0 { "Deployments".to_owned() } else { format!("{going_on} running · Deployments") },
        page_state: match (going_on, open.is_empty()) {
            (0, true) => "idle",
            (0, false) => "failed",
            (1.., _) => "running",
        },
        open,
        has_more_open: open_page.has_more,
        failed: failed.into_iter().map(FailedRow::from).collect(),
        is_narrow: search.is_narrow(),
        first_page: search.after.map(|_| search.address("/", None)),
        next_page: last.map(|it| search.address("/", Some(it))),
        rows,
        base: public.unwrap_or_else(|| format!("http://localhost:{}", server.port)),
        needs_key: !app.keys().are_none(),
        model: DEFAULT_MODEL,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::operation::tests::a_deployment;

    #[test]
    fn a_search_is_in_its_address() {
        let search = Search { q: Some("a&b".to_owned()), mode: Some(Mode::CloudLocal), ..Search::default() };

        assert_eq!(search.address("/", None), "/?q=a%26b&mode=cloud-local");
        assert_eq!(Search::default().address("/", None), "/");
        assert!(search.is_narrow() && !Search::default().is_narrow());
    }

    #[test]
    fn an_address_is_only_shown_while_something_can_be_there() {
        let mut deployment = a_deployment();
        assert_eq!(web_address(&deployment), Some("http://localhost:30001"));

        deployment.state = DeploymentState::Removed;
        assert_eq!(web_address(&deployment), None);
    }
}
