//! The embedded engine: steno, Oxide's saga library, in this process, with its log in our store. The log only says which
//! node is next; what a step has come to is in the table of steps.
//!
//! steno undoes only what succeeded, but a step that failed may have done half its work. So each step is two nodes:
//! a guard, which does nothing and carries the undo, then the one that runs. Parallel parts are sub-sagas.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use newtype_uuid::GenericUuid;
use serde_json::Value;
use steno::{
    Action, ActionContext, ActionError, ActionName, ActionRegistry, ActionResult, Dag, DagBuilder, Node,
    SagaCachedState, SagaCreateParams, SagaDag, SagaId, SagaName, SagaNodeEvent, SagaNodeEventType, SagaType, SecStore,
    UndoResult,
};
use tracing::Instrument;

use super::finished::{EngineError, Finished, Unwound};
use super::run::{Run, cancelled, internal};
use crate::event::{EventKind, Failure, OperationState};
use crate::id::OperationId;
use crate::plan::Plan;
use crate::store::steps::{StepRecords, outputs};
use crate::store::{Store, StoreError};

/// Runs an operation from where it is to its end.
pub(super) async fn run(run: Run) -> Result<(), EngineError> {
    let run = Arc::new(run);
    let id = run.operation.id;
    let store = &run.shared.store;
    if run.operation.state == OperationState::Queued
        && let Err(error) = store.set_operation_state(id, OperationState::Running).await
    {
        let Run { shared, operation, deployment, target, .. } = &*run;
        return shared.give_up(operation.clone(), deployment.clone(), target.clone(), &EngineError::from(error)).await;
    }
    let unreadable = |what: String| EngineError::Unreadable { operation: id, what };
    let registry = registry();
    let sec = steno::sec(slog::Logger::root(slog::Discard, slog::o!()), Arc::new(SagaLog(Arc::clone(&run))));
    let result = match store.saga_dag(id).await? {
        None => {
            let dag = Arc::new(dag(&run.plan));
            sec.saga_create(saga_id(id), Arc::new(Context(Arc::clone(&run))), dag, registry).await
        }
        Some(dag) => {
            let steps = store.steps(id).await?;
            run.count_as_done(outputs(&steps).into_keys());
            if let Some(failure) = first_failure(&steps) {
                run.record_failure(failure);
            }
            let log = store.saga_events::<SagaNodeEventType>(id).await?;
            // A server that was frozen while another one took over may have written a line a second time.
            let mut seen = BTreeSet::new();
            let events = log
                .into_iter()
                .filter(|(node, event_type)| seen.insert((*node, event_type.label())))
                .map(|(node, event_type)| SagaNodeEvent { saga_id: saga_id(id), node_id: node.into(), event_type })
                .collect();
            sec.saga_resume(saga_id(id), Arc::new(Context(Arc::clone(&run))), dag, registry, events).await
        }
    };
    let ended = result.map_err(|error| unreadable(format!("{error:#}")))?;
    sec.saga_start(saga_id(id)).await.map_err(|error| unreadable(format!("{error:#}")))?;
    let ended = tokio::select! {
        ended = ended => ended,
        () = store.lost().cancelled() => std::future::pending().await,
    };

    let steps = store.steps(id).await?;
    let result = match ended.kind {
        Ok(_) => Ok(()),
        Err(error) => {
            let is_cancel_requested = store.is_cancel_requested(id).await?;
            // One that was cancelled before any step began has no failure on record.
            let failure = run.failure().unwrap_or_else(|| {
                if is_cancel_requested { cancelled() } else { internal(error.error_source.to_string()) }
            });
            let stuck = error.undo_failure.map(|(_, error)| {
                let recorded = || steps.values().find_map(|it| it.undo_failure.clone());
                run.stuck().or_else(recorded).unwrap_or_else(|| internal(error.to_string()))
            });
            Err(Unwound { cancelled: failure.is_cancelled() && is_cancel_requested, failure, stuck })
        }
    };
    let Told { removed, warnings, was_taken_back } = Told::read(store, id).await?;
    let finished = Finished {
        operation: run.operation.clone(),
        deployment: run.deployment.clone(),
        target: store.target(run.target.id).await?.unwrap_or_else(|| run.target.clone()),
        result,
        outputs: outputs(&steps),
        removed,
        was_taken_back,
        warnings,
    };
    let ending = (run.shared.conclude)(&finished);
    run.shared.fenced().await;
    if ending.state != OperationState::Stuck {
        // The folder with the operation's process records goes before the end is stored: recovery only visits
        // operations that have not ended, so a crash in between would leave the folder for ever.
        let folder = run.shared.settings.store.workspace.join("operations").join(id.to_string());
        let _ = tokio::fs::remove_dir_all(folder).await;
    }
    run.shared.deregister(id);
    run.shared.end(&run.operation, &ending).await?;
    tracing::info!(state = ending.state.as_str(), "operation has ended");
    sec.shutdown().await;
    Ok(())
}

/// Removes from the log that undos failed, so that they are tried again.
pub(super) async fn clear_failed_undos(store: &Store, id: OperationId) -> Result<(), StoreError> {
    for (node, event) in store.saga_events::<Value>(id).await? {
        if event.get("undo_failed").is_some() {
            store.remove_saga_event(id, node, &event).await?;
        }
    }
    Ok(())
}

/// What the events tell of an operation's life, also of the part before a restart.
#[derive(Debug, Default)]
struct Told {
    /// What was removed or restored.
    removed: Vec<String>,
    warnings: Vec<String>,
    was_taken_back: bool,
}

impl Told {
    async fn read(store: &Store, id: OperationId) -> Result<Self, StoreError> {
        let (mut told, mut undoing) = (Self::default(), BTreeSet::new());
        for event in store.events_of_types(id, &["step_undoing", "step_undone", "warning"]).await? {
            match event {
                EventKind::StepUndone { removed, .. } => told.removed.extend(removed),
                // An undo that begins once more: whoever was at it before may have removed what this one does not find.
                EventKind::StepUndoing { step } => told.was_taken_back |= !undoing.insert(step),
                EventKind::Warning { text } if !told.warnings.contains(&text) => told.warnings.push(text),
                EventKind::Warning { .. }
                | EventKind::OperationState { .. }
                | EventKind::StepStarted { .. }
                | EventKind::StepProgress { .. }
                | EventKind::StepRetrying { .. }
                | EventKind::StepSucceeded { .. }
                | EventKind::StepFailed { .. }
                | EventKind::StepUndoFailed { .. }
                | EventKind::Unreadable => (),
            }
        }
        told.was_taken_back |= !told.removed.is_empty();
        Ok(told)
    }
}

/// Why an earlier server began to unwind: the first failure that is not just a step that was stopped with the others.
fn first_failure(steps: &StepRecords) -> Option<Failure> {
    let mut failed: Vec<_> = steps.values().filter_map(|it| Some((it.ended_at, it.failure.as_ref()?))).collect();
    failed.sort_by_key(|(ended_at, _)| *ended_at);
    let mut failures = failed.into_iter().map(|(_, failure)| failure);
    failures.clone().find(|failure| !failure.is_cancelled()).or(failures.next()).cloned()
}

fn saga_id(id: OperationId) -> SagaId {
    SagaId::from_untyped_uuid(id.uuid())
}

/// Our types, as steno asks for them.
#[derive(Debug)]
struct OperationSaga;

impl SagaType for OperationSaga {
    type ExecContextType = Context;
}

/// The run that a node belongs to.
#[derive(Debug)]
struct Context(Arc<Run>);

/// Carries the undo of the step that comes after it.
#[derive(Debug)]
struct UndoAction;

impl Action<OperationSaga> for UndoAction {
    fn do_it(&self, _: ActionContext<OperationSaga>) -> BoxFuture<'_, ActionResult> {
        futures_util::future::ok(Arc::new(Value::Null)).boxed()
    }

    fn undo_it(&self, context: ActionContext<OperationSaga>) -> BoxFuture<'_, UndoResult> {
        // steno runs its nodes on tasks of its own, which know nothing of the operation that the log should name.
        let span = context.user_data().0.span.clone();
        async move {
            let run = &context.user_data().0;
            run.undo_step(&context.node_label()).await.map_err(|failure| anyhow::anyhow!(failure.code))
        }
        .instrument(span)
        .boxed()
    }

    fn name(&self) -> ActionName {
        ActionName::new("guard")
    }
}

/// Runs the step that its label names.
#[derive(Debug)]
struct RunAction;

impl Action<OperationSaga> for RunAction {
    fn do_it(&self, context: ActionContext<OperationSaga>) -> BoxFuture<'_, ActionResult> {
        let span = context.user_data().0.span.clone();
        async move {
            let run = &context.user_data().0;
            let done = run.run_step(&context.node_label()).await;
            done.map(|()| Arc::new(Value::Null)).map_err(|failure| ActionError::action_failed(failure.code))
        }
        .instrument(span)
        .boxed()
    }

    fn undo_it(&self, _: ActionContext<OperationSaga>) -> BoxFuture<'_, UndoResult> {
        futures_util::future::ok(()).boxed()
    }

    fn name(&self) -> ActionName {
        ActionName::new("step")
    }
}

fn registry() -> Arc<ActionRegistry<OperationSaga>> {
    let mut registry = ActionRegistry::new();
    registry.register(Arc::new(UndoAction));
    registry.register(Arc::new(RunAction));
    Arc::new(registry)
}

/// Makes steno's graph of a plan.
fn dag(plan: &Plan) -> SagaDag {
    SagaDag::new(subgraph(plan, &mut 0), Value::Null)
}

/// One part of a plan as a graph that begins and ends with one node, as steno wants it.
fn subgraph(plan: &Plan, count: &mut u32) -> Dag {
    *count += 1;
    let mut builder = DagBuilder::new(SagaName::new("plan"));
    builder.append(Node::constant("begin", Value::Null));
    append(&mut builder, plan, count);
    builder.append(Node::constant("end", Value::Null));
    builder.build().expect("every part has names of its own, and begins and ends with one node")
}

fn append(builder: &mut DagBuilder, plan: &Plan, count: &mut u32) {
    match plan {
        Plan::Step(step) => {
            let name = step.name();
            builder.append(Node::action(format!("guard of {name}"), name, &UndoAction));
            builder.append(Node::action(name, name, &RunAction));
        }
        Plan::Sequence(parts) => parts.iter().for_each(|it| append(builder, it, count)),
        Plan::Parallel(parts) => {
            let branches: Vec<Node> = parts
                .iter()
                .map(|it| {
                    let dag = subgraph(it, count);
                    Node::subsaga(format!("branch {count}"), dag, "begin")
                })
                .collect();
            if !branches.is_empty() {
                builder.append_parallel(branches);
            }
        }
    }
}

/// steno's log, in our store. steno cannot hear of an error: when the store is gone this holds on for ever.
struct SagaLog(Arc<Run>);

impl fmt::Debug for SagaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SagaLog({})", self.0.operation.id)
    }
}

#[async_trait]
impl SecStore for SagaLog {
    async fn saga_create(&self, params: SagaCreateParams) -> Result<(), anyhow::Error> {
        Ok(self.0.shared.store.set_saga_dag(self.0.operation.id, &params.dag).await?)
    }

    async fn record_event(&self, event: SagaNodeEvent) {
        let node = event.node_id.to_string().parse().expect("a node id prints as its number");
        let store = &self.0.shared.store;
        self.0.shared.fenced().await;
        if let Err(error) = store.append_saga_event(self.0.operation.id, node, &event.event_type).await {
            self.0.shared.fence(&error).await;
        }
    }

    async fn saga_update(&self, _: SagaId, _: SagaCachedState) {}
}
