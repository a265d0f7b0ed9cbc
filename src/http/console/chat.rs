//! `/chat`: the same conversation as a chat page has with `POST /v1/chat/completions`. The plan is a card, the yes a
//! button, and what was begun is told of as it stands.
//!
//! A message is kept, its answer is made beside the request ([`answering`]), and the page is there within seconds, with
//! the answer or without: its words come as they are said ([`answers_in_progress`]), and to who has no script the whole of
//! it when it is there. A message has a number, so that one that is sent twice is said once, and a yes from an old page
//! agrees to nothing.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures_util::StreamExt;
use serde::Serialize;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use super::live;
use super::open_pages::OpenPages;
use super::page_form::PageForm;
use super::render::{self, Heading};
use super::session::Viewer;
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::limit::Streams;
use crate::http::path::PathId;
use crate::http::request_id::RequestId;

mod answering;
pub(crate) mod answers_in_progress;
mod kept;
mod progress;
mod view;

use answers_in_progress::{AnswersInProgress, Change};
use kept::{Chat, Turn};
use view::View;

/// So long a page waits for its answer, which most need less than: it needs no second look then.
const SOON: Duration = Duration::from_secs(5);
/// And so long after the first words, where a script shows the others as they come: what is said at once is there as a
/// whole then.
const AT_ONCE: Duration = Duration::from_millis(200);
/// The most characters of a message.
const LONGEST: usize = 20_000;
/// The most messages of a chat.
const MOST: usize = 100;

const OVER: &str = "This chat is over: one is kept for an hour after its last message, for whoever began it. \
    What was begun in it goes on.";
const GONE_ON: &str = "This chat has gone on since that page was loaded, and nothing was said. This is how it stands.";
const NOT_YET: &str = "The message before is still being answered, and nothing was said. Send it after that.";
const FULL: &str = "This chat has as many messages as one can have. Begin a new one.";

/// What has become more of an answer that is being made.
#[derive(Debug, Serialize)]
struct Words {
    chat: Uuid,
    words: String,
}

/// The page.
#[derive(Debug, Serialize)]
struct ChatPage<'a> {
    notice: Option<&'static str>,
    /// What was typed and not said.
    draft: &'a str,
    longest: usize,
    has_model: bool,
    #[serde(flatten)]
    live: View,
}

/// A chat in which nothing was said.
pub(super) async fn new(
    State(app): State<App>,
    State(answers): State<AnswersInProgress>,
    viewer: Viewer,
) -> Result<Html<String>, ApiError> {
    page(&app, &answers, &viewer, (Uuid::new_v4(), &Chat::default()), None, "").await
}

/// A chat.
pub(super) async fn show(
    State(app): State<App>,
    State(answers): State<AnswersInProgress>,
    viewer: Viewer,
    PathId(id): PathId,
) -> Result<Response, ApiError> {
    if let Some((id, chat)) = find(&app, &viewer, &id).await? {
        return Ok(page(&app, &answers, &viewer, (id, &chat), None, "").await?.into_response());
    }
    let page = page(&app, &answers, &viewer, (Uuid::new_v4(), &Chat::default()), Some(OVER), "").await?;
    Ok((StatusCode::NOT_FOUND, page).into_response())
}

/// Sends the live part of the page, as long as anything on it changes by itself; the words of an answer that is being made
/// alone, when nothing else can have changed.
pub(super) async fn follow(
    State(app): State<App>,
    State(streams): State<Streams>,
    State(answers): State<AnswersInProgress>,
    State(pages): State<OpenPages>,
    viewer: Viewer,
    PathId(id): PathId,
) -> Result<Response, ApiError> {
    let Some((id, _)) = find(&app, &viewer, &id).await? else { return Err(gone()) };
    let over = CancellationToken::new();
    let needs_whole_part = Arc::new(AtomicBool::new(true));
    let is_needed = Arc::clone(&needs_whole_part);
    let changes = answers.changes(&viewer.caller, id).map(move |change| {
        is_needed.fetch_or(change == Change::Anything, Ordering::Relaxed);
    });
    let changes = changes.take_until(over.clone().cancelled_owned());
    let browser = viewer.browser.clone();
    let made = app.clone();
    live::stream(&app, &streams, &pages, &browser, changes, move || {
        let (app, viewer, over, answers) = (made.clone(), viewer.clone(), over.clone(), answers.clone());
        let needs_whole_part = needs_whole_part.swap(false, Ordering::Relaxed);
        async move {
            if let Some(words) = answers.words(&viewer.caller, id).filter(|_| !needs_whole_part) {
                return render::part(&viewer, "chat_more_words.html", Words { chat: id, words });
            }
            let chat = Chat::load(&app, &viewer.caller, id).await?.ok_or_else(gone)?;
            let view = View::of(&app, &answers, &viewer.caller, id, &chat).await?;
            if !view.is_alive {
                over.cancel();
            }
            render::part(&viewer, "chat_live.html", view)
        }
    })
}

/// Says something, and leads to the page with the answer.
pub(super) async fn say(
    State(app): State<App>,
    State(answers): State<AnswersInProgress>,
    viewer: Viewer,
    request_id: RequestId,
    form: PageForm,
) -> Result<Response, ApiError> {
    let id = Uuid::try_parse(form.required("chat")?);
    let id = id.map_err(|_| ApiError::invalid("chat", "`chat` is the id of no chat"))?;
    let turn = form.required("turn")?.parse::<usize>();
    let turn = turn.map_err(|_| ApiError::invalid("turn", "`turn` is the number of no message"))?;
    let said = form.required("message")?.trim();
    if said.is_empty() || said.chars().count() > LONGEST {
        return Err(ApiError::invalid("message", format!("`message` must have 1 to {LONGEST} characters")));
    }
    let caller = &viewer.caller;
    let found = Chat::load(&app, caller, id).await?;
    if found.is_none() && turn > 0 {
        let begun_anew = (Uuid::new_v4(), &Chat::default());
        let page = page(&app, &answers, &viewer, begun_anew, Some(OVER), said).await?;
        return Ok((StatusCode::CONFLICT, page).into_response());
    }
    let mut chat = found.unwrap_or_default();
    let to_answer = Redirect::to(&format!("/chat/{id}#turn-{turn}")).into_response();
    if chat.turns.get(turn).is_some_and(|it| it.said == said) {
        return Ok(to_answer);
    }
    let within = app.settings().server.answer_within;
    let refusal = if turn != chat.turns.len() {
        Some(GONE_ON)
    } else if chat.turns.last().is_some_and(|it| it.is_open(within)) {
        Some(NOT_YET)
    } else {
        (turn >= MOST).then_some(FULL)
    };
    if refusal.is_some() {
        let page = page(&app, &answers, &viewer, (id, &chat), refusal, said).await?;
        return Ok((StatusCode::CONFLICT, page).into_response());
    }
    chat.turns.push(Turn::new(said));
    chat.keep(&app, caller, id).await?;
    let in_progress = answers.begin(caller, id);
    let mut words = in_progress.subscribe();
    let answering = answering::give(app.clone(), caller.clone(), request_id, id, chat, in_progress);
    let answering = tokio::spawn(answering.in_current_span());
    let begun = async {
        // The page that follows shows no words as they come.
        if form.text("without_script").is_some() {
            return pending().await;
        }
        let _ = words.changed().await;
        sleep(AT_ONCE).await;
    };
    // However it ends, the page tells.
    tokio::select! {
        _ = timeout(SOON, answering) => (),
        () = begun => (),
    }
    Ok(to_answer)
}

/// What is no id is the id of nothing.
async fn find(app: &App, viewer: &Viewer, id: &str) -> Result<Option<(Uuid, Chat)>, ApiError> {
    let Ok(id) = Uuid::try_parse(id) else { return Ok(None) };
    Ok(Chat::load(app, &viewer.caller, id).await?.map(|chat| (id, chat)))
}

fn gone() -> ApiError {
    ApiError::RouteNotFound("chat".to_owned())
}

async fn page(
    app: &App,
    answers: &AnswersInProgress,
    viewer: &Viewer,
    (id, chat): (Uuid, &Chat),
    notice: Option<&'static str>,
    draft: &str,
) -> Result<Html<String>, ApiError> {
    let live = View::of(app, answers, &viewer.caller, id, chat).await?;
    let values = ChatPage { notice, draft, longest: LONGEST, has_model: app.model().is_some(), live };
    render::page(viewer, "chat.html", Heading { title: "Chat", place: "/chat" }, values)
}
