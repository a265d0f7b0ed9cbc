//! App: every long-lived handle, built from settings.
//!
//! A stand-in with canned behaviour, so that the layers above compile and can be tried.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::event::{Event, EventKind, Failure, OperationState};
use crate::id::{
    Action, CommitId, DeploymentId, DeploymentName, ImageRef, Mode, Namespace, OperationId, Port, RepositoryUrl,
    TargetId,
};
use crate::intent::{Intent, Request};
use crate::reply::view::{PlanView, PlannedStep, Report, StepState, StepView};
use crate::store::record::{Deployment, DeploymentState, Facts, Operation, Version};

/// Any error, for the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Every long-lived handle.
#[derive(Clone)]
pub struct App {
    settings: Arc<Settings>,
    shutdown: CancellationToken,
}

/// What became of a request.
#[derive(Debug)]
pub enum Accepted {
    /// It is (or was) carried out.
    Operation {
        /// By this operation.
        id: OperationId,
        /// True when the operation was there before.
        attached: bool,
    },
    /// It was only planned.
    Plan(PlanView),
    /// It was a question.
    Report(Report),
}

/// By what two requests are recognised as the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// The key, made unique per principal.
    pub key: String,
    /// Where it comes from.
    pub kind: KeyKind,
    /// What the request said, to tell a repetition from another request with the same key.
    pub body_hash: String,
}

/// Where a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// The `Idempotency-Key` header.
    Header,
    /// The chat and message of a chat page.
    Chat,
    /// The request itself.
    Hash {
        /// The client says that it sends the request again.
        is_retry: bool,
    },
}

/// Which operations are wanted.
#[derive(Debug, Clone, Default)]
pub struct OperationFilter {
    /// In this state.
    pub state: Option<OperationState>,
    /// On this deployment.
    pub deployment: Option<DeploymentId>,
    /// After this one, in the order of the list (newest first).
    pub after: Option<OperationId>,
    /// At most so many.
    pub limit: u32,
}

/// Which deployments are wanted.
#[derive(Debug, Clone, Default)]
pub struct DeploymentFilter {
    /// In this state.
    pub state: Option<DeploymentState>,
    /// Of this mode.
    pub mode: Option<Mode>,
    /// After this one, in the order of the list (newest first).
    pub after: Option<DeploymentId>,
    /// At most so many.
    pub limit: u32,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Whether there are more after them.
    pub has_more: bool,
}

/// One thing that must be right for the server to work.
#[derive(Debug, Clone)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What is wrong with it, and what to do.
    pub result: Result<(), String>,
}

/// Says why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Another operation is running on the deployment.
    #[error("`{deployment}` is busy with operation `{operation}`; wait until it has ended, or cancel it")]
    Busy {
        /// Name of the deployment.
        deployment: String,
        /// The operation that is running.
        operation: OperationId,
    },
    /// What was asked for is not there.
    #[error("{message}")]
    NotFound {
        /// What, and what there is.
        message: String,
    },
    /// Several deployments fit.
    #[error("{message}")]
    Ambiguous {
        /// Which ones.
        message: String,
        /// The field that would tell.
        param: &'static str,
    },
    /// It contradicts what exists.
    #[error("{message}")]
    Conflict {
        /// What contradicts what.
        message: String,
        /// The field to change.
        param: Option<&'static str>,
    },
    /// A value is wrong.
    #[error("{message}")]
    Invalid {
        /// What would be right.
        message: String,
        /// The field.
        param: &'static str,
    },
    /// The mode does not work on this server.
    #[error("the mode `{mode}` is not available on this server; `local` is")]
    ModeUnavailable {
        /// Which mode.
        mode: Mode,
    },
    /// The same key came with another request.
    #[error("this idempotency key was used for another request; use a new one")]
    KeyReused,
    /// The server is about to stop.
    #[error("the server is shutting down; send the request again in a moment")]
    ShuttingDown,
    /// A fault of ours.
    #[error("something went wrong inside the server")]
    Internal(#[source] BoxError),
}

impl App {
    /// The stand-in.
    #[must_use]
    pub fn stand_in(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), shutdown: CancellationToken::new() }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Accepts a request.
    ///
    /// # Errors
    /// [`AppError`] when it cannot be carried out.
    pub async fn accept(&self, _: &str, _: Option<RequestKey>, request: Request) -> Result<Accepted, AppError> {
        if request.dry_run {
            return Ok(Accepted::Plan(PlanView {
                steps: vec![PlannedStep {
                    step: "clone".to_owned(),
                    title: "Clone the repository".to_owned(),
                    after: Vec::new(),
                    already: None,
                    note: None,
                }],
                deployment: "notes".to_owned(),
                summary: Vec::new(),
            }));
        }
        match request.intent {
            Intent::Deploy(deploy) => match deploy.name.as_ref().map(DeploymentName::as_str) {
                Some("busy") => Err(AppError::Busy { deployment: "busy".to_owned(), operation: operation_id('a') }),
                Some("fault") => Err(AppError::Internal("the stand-in was told to fail".into())),
                Some("panic") => panic!("the stand-in was told to panic"),
                Some("slow") => Ok(Accepted::Operation { id: operation_id('b'), attached: false }),
                Some("broken") => Ok(Accepted::Operation { id: operation_id('c'), attached: false }),
                Some("midway") => Ok(Accepted::Operation { id: operation_id('d'), attached: false }),
                _ => Ok(Accepted::Operation { id: operation_id('a'), attached: false }),
            },
            Intent::List(_) => Ok(Accepted::Report(Report::Deployments(vec![a_deployment()]))),
            Intent::Status(_) => Ok(Accepted::Report(Report::Status {
                deployment: a_deployment(),
                live: vec!["1 of 1 pods is ready".to_owned()],
            })),
            Intent::Logs(logs) => {
                Ok(Accepted::Report(Report::Logs { deployment: a_deployment(), follow: logs.follow, tail: logs.tail }))
            }
            Intent::Cancel(_) => Ok(Accepted::Report(Report::Cancelled(operation_id('b')))),
            Intent::Redeploy(_) | Intent::Scale(_) | Intent::Rollback(_) | Intent::Decommission(_) => {
                Err(AppError::NotFound { message: "no deployment fits".to_owned() })
            }
        }
    }

    /// One operation.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn operation(&self, id: OperationId) -> Result<Option<Operation>, AppError> {
        Ok(an_operation(id))
    }

    /// Operations, newest first.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn operations(&self, _: &OperationFilter) -> Result<Page<Operation>, AppError> {
        Ok(Page { items: an_operation(operation_id('a')).into_iter().collect(), has_more: false })
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Option<Deployment>, AppError> {
        Ok(Some(a_deployment()).filter(|it| it.id == id))
    }

    /// Deployments, newest first.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn deployments(&self, _: &DeploymentFilter) -> Result<Page<Deployment>, AppError> {
        Ok(Page { items: vec![a_deployment()], has_more: false })
    }

    /// Replays the events after `after`, then follows; ends when the operation has ended.
    pub fn follow(&self, id: OperationId, after: i64) -> impl Stream<Item = Result<Event, AppError>> + Send + 'static {
        let events: Vec<Event> = events(id).into_iter().filter(|event| event.sequence > after).collect();
        let replay = stream::iter(events).map(Ok);
        match id {
            id if id == operation_id('b') => replay.chain(stream::pending()).boxed(),
            id if id == operation_id('d') => {
                replay.chain(stream::iter([Err(AppError::Internal("cut".into()))])).boxed()
            }
            _ => replay.boxed(),
        }
    }

    /// The steps of an operation as they stand.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn steps(&self, _: &Operation) -> Result<Vec<StepView>, AppError> {
        Ok(vec![StepView {
            step: "clone".to_owned(),
            title: "Clone the repository".to_owned(),
            state: StepState::Succeeded,
            already: false,
            elapsed_ms: Some(420),
            text: Some("Cloned commit `3f2a1b9c0d1e`".to_owned()),
        }])
    }

    /// Stops an operation and takes back what it did.
    ///
    /// # Errors
    /// [`AppError`] when it cannot be stopped.
    pub async fn cancel(&self, id: OperationId) -> Result<Operation, AppError> {
        match an_operation(id) {
            Some(operation) if !operation.state.is_ended() => Ok(operation),
            Some(_) => Err(AppError::Conflict { message: "the operation has ended".to_owned(), param: None }),
            None => Err(AppError::NotFound { message: "there is no such operation".to_owned() }),
        }
    }

    /// Tries a stuck operation again.
    ///
    /// # Errors
    /// [`AppError`] when there is nothing to resume.
    pub async fn resume(&self, id: OperationId) -> Result<Operation, AppError> {
        self.cancel(id).await
    }

    /// What an application prints.
    ///
    /// # Errors
    /// [`AppError`] when it cannot be read.
    pub async fn logs(
        &self,
        _: &Deployment,
        tail: u32,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<String, AppError>>, AppError> {
        let lines = stream::iter((0..tail.min(3)).map(|n| Ok(format!("line {n}"))));
        Ok(if follow {
            lines.chain(stream::pending().take_until(after(Duration::from_millis(50)))).boxed()
        } else {
            lines.boxed()
        })
    }

    /// What must be right for the server to work.
    pub async fn ready(&self) -> Vec<Check> {
        vec![Check { name: "store", result: Ok(()) }]
    }

    /// Whether the server is about to stop.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    /// Cancelled when the server is about to stop.
    #[must_use]
    pub fn shutdown_token(&self) -> CancellationToken {
        self.shutdown.clone()
    }
}

fn after(pause: Duration) -> impl Future<Output = ()> + Send {
    tokio::time::sleep(pause)
}

fn operation_id(last: char) -> OperationId {
    OperationId::parse(&format!("op_018bcfe56800700080000000000000{last}{last}")).expect("well formed")
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + ms).expect("in range")
}

fn events(id: OperationId) -> Vec<Event> {
    let step = "clone".to_owned();
    let kinds = [
        EventKind::OperationState { state: OperationState::Running },
        EventKind::StepStarted { step: step.clone(), title: "Clone the repository".to_owned() },
        EventKind::StepSucceeded {
            step,
            summary: "Cloned commit `3f2a1b9c0d1e`".to_owned(),
            already: false,
            elapsed_ms: 420,
        },
        EventKind::OperationState { state: state(id) },
    ];
    kinds.into_iter().zip(1..).map(|(kind, sequence)| Event { sequence, at: at(sequence * 100), kind }).collect()
}

fn state(id: OperationId) -> OperationState {
    match id.to_string().chars().last() {
        Some('a') => OperationState::Succeeded,
        Some('c') => OperationState::Undone,
        _ => OperationState::Running,
    }
}

fn an_operation(id: OperationId) -> Option<Operation> {
    if !('a'..='d').any(|last| operation_id(last) == id) {
        return None;
    }
    let failure = Failure {
        code: "crash_loop".to_owned(),
        message: "the application ends with exit code 1".to_owned(),
        next_step: "look at its output".to_owned(),
        output: vec!["KeyError".to_owned()],
    };
    Some(Operation {
        id,
        action: Action::Deploy,
        principal: "address:127.0.0.1".to_owned(),
        intent: serde_json::Value::Null,
        plan: serde_json::Value::Null,
        state: state(id),
        progress: 100,
        deployment: a_deployment().id,
        target: a_deployment().target,
        failure: (state(id) == OperationState::Undone).then_some(failure),
        receipt: Vec::new(),
        warnings: Vec::new(),
        created_at: at(0),
        ended_at: state(id).is_ended().then(|| at(400)),
    })
}

fn a_deployment() -> Deployment {
    let port = Port::new(8000).expect("not zero");
    Deployment {
        id: DeploymentId::parse("dep_018bcfe568007000800000000000000b").expect("well formed"),
        mode: Mode::Local,
        state: DeploymentState::Running,
        target: TargetId::parse("tgt_018bcfe568007000800000000000000c").expect("well formed"),
        instance_id: "on-demand-infra".to_owned(),
        name: DeploymentName::parse("notes").expect("well formed"),
        namespace: Namespace::parse("demo").expect("well formed"),
        repository: RepositoryUrl::parse("https://git.example.test/team/notes.git").expect("well formed"),
        git_ref: None,
        operation: operation_id('a'),
        facts: Facts {
            version: Some(Version {
                revision: 1,
                commit: CommitId::parse("3f2a1b9c0d1e4f5a6b7c8d9e0f1a2b3c4d5e6f70").expect("well formed"),
                git_ref: None,
                image: ImageRef::parse("notes:3f2a1b9c0d1e").expect("well formed"),
                image_id: "sha256:0".to_owned(),
                main_port: port,
                ports: vec![(port, "TCP".to_owned())],
                container_port: None,
                dockerfile: None,
                environment_secret: None,
                environment_names: Vec::new(),
                operation: operation_id('a'),
                deployed_at: at(300),
            }),
            replicas: Some(1),
            app_url: Some("http://localhost:30001".to_owned()),
            node_port: Some(30001),
            http_status: Some(200),
            ..Facts::default()
        },
        created_at: at(0),
        updated_at: at(400),
    }
}
