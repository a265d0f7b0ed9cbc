//! `/deployments/{id}/logs`: what an application prints, followed, searched, and taken along.
//!
//! The page itself asks nobody: a script reads the lines. Without one they are read when somebody asks for them by a
//! form, and so are those of a container that is gone, and those that take AWS credentials.

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::sse::Event;
use axum::response::{Html, IntoResponse, Response};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::json;

use super::deployment::{credentials, find};
use super::live::last;
use super::page_form::PageForm;
use super::render::{self, Heading};
use super::session::Viewer;
use super::text::{self, plain};
use crate::access::Caller;
use crate::app::logs::{LineStream, LogSource};
use crate::app::{App, AppError};
use crate::cloud::kube::logs::LogSpan;
use crate::http::deployments::read_tail;
use crate::http::error::ApiError;
use crate::http::limit::Streams;
use crate::http::list::ListQuery;
use crate::http::path::PathId;
use crate::http::request_id::RequestId;
use crate::http::sse;
use crate::id::DeploymentId;
use crate::intent::AwsCredentials;
use crate::intent::partial::{DEFAULT_TAIL, MAX_TAIL};
use crate::reply::{capital, strip_ansi};
use crate::store::record::{Deployment, DeploymentState};

/// How many lines of each pod can be chosen.
const TAILS: [u32; 3] = [DEFAULT_TAIL, 1000, MAX_TAIL];
/// The longest text that is looked for, and the longest name of a pod.
const LONGEST_TEXT: usize = 253;
/// What is printed within this is sent together.
const TOGETHER: Duration = Duration::from_millis(100);
/// And so many lines at the most.
const LINES_TOGETHER: usize = 1000;

/// Which lines are wanted, as it stands in the address.
#[derive(Debug, Clone, Serialize)]
struct Choice {
    tail: u32,
    q: Option<String>,
    pod: Option<String>,
    /// Those of the container before the one that runs.
    previous: bool,
    /// They are wanted now, and not by a script.
    shown: bool,
}

impl Choice {
    fn read(query: &ListQuery) -> Result<Self, ApiError> {
        let text = |text: &str| (text.chars().count() <= LONGEST_TEXT).then(|| text.trim().to_owned());
        let flag = |text: &str| text.parse().ok();
        let not_empty = |it: &String| !it.is_empty();
        let rule = "a text of at most 253 characters";
        Ok(Self {
            tail: read_tail(query)?,
            q: query.read("q", rule, text)?.filter(not_empty),
            pod: query.read("pod", rule, text)?.filter(not_empty),
            previous: query.read("previous", "`true` or `false`", flag)?.unwrap_or(false),
            shown: query.read("shown", "`true` or `false`", flag)?.unwrap_or(false),
        })
    }

    /// An address with the same choice, with or without the text that is looked for.
    fn address(&self, path: &str, with_text: bool) -> String {
        let values = [
            ("tail", Some(self.tail.to_string())),
            ("pod", self.pod.clone()),
            ("q", self.q.clone().filter(|_| with_text)),
            ("previous", self.previous.then(|| "true".to_owned())),
        ];
        text::address(path, values)
    }

    /// The same choice, but of all pods.
    fn of_all_pods(&self) -> Self {
        Self { pod: None, previous: false, ..self.clone() }
    }

    /// Whose lines they are.
    fn source(&self) -> Result<LogSource<'_>, AppError> {
        match (&self.pod, self.previous) {
            (Some(pod), true) => Ok(LogSource::BeforeRestart(pod)),
            (Some(pod), false) => Ok(LogSource::Pod(pod)),
            (None, false) => Ok(LogSource::AllPods),
            (None, true) => Err(AppError::Invalid {
                message: "`pod` is missing: the container before is one of a pod".to_owned(),
                param: "pod",
            }),
        }
    }

    /// Why the pod that was given, or not, is wrong.
    fn pod_error(&self) -> Option<String> {
        self.source().err().map(|it| plain(&it.to_string()))
    }

    /// Whether a line has the text that is looked for, in capitals or not.
    fn has_text(&self) -> impl Fn(&str) -> bool + Send + 'static + use<> {
        let wanted = self.q.as_ref().map(|it| it.to_lowercase());
        move |line| wanted.as_ref().is_none_or(|it| line.to_lowercase().contains(it))
    }
}

/// The deployment of the path, and which of its lines are wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    deployment: Deployment,
    choice: Choice,
}

impl<S> FromRequestParts<S> for Wanted
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let choice = Choice::read(&ListQuery::from_request_parts(parts, state).await?)?;
        let caller = Caller::from_request_parts(parts, state).await?;
        let PathId(id) = PathId::from_request_parts(parts, state).await?;
        Ok(Self { deployment: find(&App::from_ref(state), &caller, &id).await?, choice })
    }
}

/// The choice of a pod, as a part of the page.
#[derive(Debug, Serialize)]
struct PodPart {
    choice: Choice,
    pod_error: Option<String>,
    /// Their names, when the cluster tells them.
    pods: Vec<String>,
    /// The one that was chosen is not there, or not any more.
    is_gone: bool,
    /// The page of all pods.
    all_pods: String,
}

/// The page.
#[derive(Debug, Serialize)]
struct LogPage {
    id: DeploymentId,
    name: String,
    is_there: bool,
    choice: Choice,
    /// Why the pod that was given, or not, is wrong.
    pod_error: Option<String>,
    /// Empty, because the page itself asks no cluster.
    pods: Vec<String>,
    /// For the same reason never.
    is_gone: bool,
    /// The page of all pods.
    all_pods: String,
    /// Where it is told which pods there are.
    pods_part: Option<String>,
    tails: [u32; 3],
    /// The lines, when they were read for the page.
    lines: Option<Vec<String>>,
    /// Why they could not be read.
    problem: Option<String>,
    /// Its cluster takes AWS credentials, which this server has not.
    needs_credentials: bool,
    /// Where a script reads the lines.
    stream: String,
    download: String,
    /// The page with the same choice.
    again: String,
    /// The page that follows.
    follow: String,
}

/// Shows the page.
pub(super) async fn show(
    State(app): State<App>,
    viewer: Viewer,
    request_id: RequestId,
    Wanted { deployment, choice }: Wanted,
) -> Result<Response, ApiError> {
    let is_wanted = (choice.shown || choice.previous) && choice.source().is_ok();
    let is_wanted = is_wanted && !app.needs_credentials(&deployment);
    let read = if is_wanted { Some(last_lines(&app, &deployment, &choice, None).await) } else { None };
    page(&app, &viewer, &request_id, &deployment, choice, read)
}

/// Shows the lines of a cluster that takes AWS credentials. They are for this one look.
pub(super) async fn show_with_credentials(
    State(app): State<App>,
    viewer: Viewer,
    request_id: RequestId,
    Wanted { deployment, choice }: Wanted,
    given: PageForm,
) -> Result<Response, ApiError> {
    let read = match credentials(&app, &given) {
        _ if choice.source().is_err() => None,
        Ok(aws) => Some(last_lines(&app, &deployment, &choice, aws.as_ref()).await),
        Err(error) => Some(Err(AppError::Conflict { message: error.message, param: None })),
    };
    page(&app, &viewer, &request_id, &deployment, choice, read)
}

fn page(
    app: &App,
    viewer: &Viewer,
    request_id: &RequestId,
    deployment: &Deployment,
    choice: Choice,
    read: Option<Result<Vec<String>, AppError>>,
) -> Result<Response, ApiError> {
    let (lines, problem) = match read {
        Some(Ok(lines)) => (Some(lines), None),
        Some(Err(error)) => (None, Some(in_words(error, request_id))),
        None => (None, None),
    };
    let path = format!("/deployments/{}/logs", deployment.id);
    let is_there = deployment.state != DeploymentState::Removed;
    let needs_credentials = app.needs_credentials(deployment);
    let can_be_asked = is_there && !needs_credentials;
    let values = LogPage {
        id: deployment.id,
        name: deployment.name.to_string(),
        is_there,
        pod_error: choice.pod_error(),
        pods: Vec::new(),
        is_gone: false,
        all_pods: choice.of_all_pods().address(&path, true),
        pods_part: can_be_asked.then(|| choice.address(&format!("{path}/pods"), false)),
        tails: TAILS,
        lines,
        problem,
        needs_credentials,
        stream: choice.address(&format!("{path}/stream"), false),
        download: choice.address(&format!("{path}/download"), true),
        again: choice.address(&path, true),
        follow: Choice { previous: false, ..choice.clone() }.address(&path, true),
        choice,
    };
    let title = format!("Logs of {}", deployment.name);
    let status = if values.pod_error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = render::page(viewer, "logs.html", Heading { title: &title, place: "/" }, values)?;
    Ok((status, page).into_response())
}

/// Shows the pods to choose from. This asks the cluster.
pub(super) async fn pods(
    State(app): State<App>,
    viewer: Viewer,
    Wanted { deployment, choice }: Wanted,
) -> Result<Html<String>, ApiError> {
    let parts = app.health(&viewer.caller, &deployment, None).await?.parts;
    let mut pods: Vec<String> = parts.into_iter().flat_map(|it| it.pods).map(|it| it.name).collect();
    // One that is gone stays chosen, and that it is gone is told beside it.
    let gone = choice.pod.clone().filter(|it| !pods.is_empty() && !pods.contains(it));
    let is_gone = gone.is_some();
    pods.extend(gone);
    let all_pods = choice.of_all_pods().address(&format!("/deployments/{}/logs", deployment.id), true);
    let values = PodPart { pod_error: choice.pod_error(), choice, pods, is_gone, all_pods };
    render::part(&viewer, "logs_pod.html", values).map(Html)
}

/// Gives the lines to take along, as they are read. What goes wrong in between is told by the last of them.
pub(super) async fn download(
    State(app): State<App>,
    request_id: RequestId,
    Wanted { deployment, choice }: Wanted,
) -> Result<Response, ApiError> {
    let lines = app.read_lines(&deployment, choice.source()?, choice.tail, None).await?;
    let has_text = choice.has_text();
    let text = lines.filter_map(move |line| {
        ready(match line {
            Ok(line) => has_text(&line).then(|| Ok::<_, Infallible>(format!("{line}\n"))),
            Err(error) => Some(Ok(format!("-- {}\n", in_words(error, &request_id)))),
        })
    });
    let text = Body::from_stream(text.take_until(app.shutdown_token().cancelled_owned()));
    let disposition = format!("attachment; filename=\"{}.log\"", deployment.name);
    let disposition = HeaderValue::from_str(&disposition).map_err(|error| ApiError::Internal(error.into()))?;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, disposition)], text).into_response())
}

/// Follows the lines: each event has `{"lines": [...]}`, what was printed together. The event `last` comes when no more
/// lines come, after one whose `problem` says why. (An event `error` would be taken for one of the connection.)
pub(super) async fn stream(
    State(app): State<App>,
    State(streams): State<Streams>,
    viewer: Viewer,
    request_id: RequestId,
    Wanted { deployment, choice }: Wanted,
) -> Result<Response, ApiError> {
    let open = streams.open()?;
    let stopping = app.shutdown_token().cancelled_owned();
    let over = viewer.browser.left(app.clone());
    // It is answered at once, however long the cluster takes.
    let lines = stream::once(follow(app, deployment, choice)).try_flatten();
    let batches = tokio_stream::StreamExt::chunks_timeout(lines, LINES_TOGETHER, TOGETHER);
    let events = batches.flat_map(move |batch| stream::iter(events(batch, &request_id)));
    Ok(sse::respond(events.chain(stream::once(ready(last()))).take_until(stopping).take_until(over), open))
}

async fn follow(app: App, deployment: Deployment, choice: Choice) -> Result<LineStream, AppError> {
    app.pod_lines(&deployment, LogSpan::Follow(choice.tail), choice.pod.as_deref(), None).await
}

/// The events that tell of some lines.
fn events(batch: Vec<Result<String, AppError>>, request_id: &RequestId) -> Vec<Event> {
    let (mut lines, mut events) = (Vec::new(), Vec::new());
    for line in batch {
        match line {
            Ok(line) => lines.push(line),
            Err(error) => {
                let problem = in_words(error, request_id);
                events.push(sse::data(&json!({"lines": [format!("-- {problem}")], "problem": problem})));
            }
        }
    }
    if !lines.is_empty() {
        events.insert(0, sse::data(&json!({"lines": lines})));
    }
    events
}

/// The last lines that fit, as they are now.
async fn last_lines(
    app: &App,
    deployment: &Deployment,
    choice: &Choice,
    aws: Option<&AwsCredentials>,
) -> Result<Vec<String>, AppError> {
    app.matching_lines(deployment, choice.source()?, choice.tail, aws, choice.has_text()).await
}

/// Why something failed, in one line.
fn in_words(error: AppError, request_id: &RequestId) -> String {
    capital(&strip_ansi(&ApiError::from(error).body(request_id.as_str()).error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice() -> Choice {
        Choice { tail: 100, q: Some("GET /a b".to_owned()), pod: None, previous: false, shown: true }
    }

    #[test]
    fn a_choice_is_in_its_address_and_a_script_looks_for_text_by_itself() {
        assert_eq!(choice().address("/logs", true), "/logs?tail=100&q=GET+%2Fa+b");
        assert_eq!(choice().address("/stream", false), "/stream?tail=100");
    }

    #[test]
    fn text_is_found_in_capitals_or_not() {
        let has_text = choice().has_text();

        assert!(has_text("127.0.0.1 get /A B 200") && !has_text("GET /b"));
    }

    #[test]
    fn a_container_before_is_one_of_a_pod() {
        let before = Choice { previous: true, ..choice() };

        assert!(matches!(before.source(), Err(AppError::Invalid { param: "pod", .. })));
        let of_pod = Choice { pod: Some("notes-1".to_owned()), ..before };
        assert_eq!(of_pod.source().unwrap(), LogSource::BeforeRestart("notes-1"));
    }
}
