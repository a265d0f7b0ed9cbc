//! Operations that a version has left which knew of their steps from the log of the engine and from events: what these
//! tell is put into the table of steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use steno::{SagaDag, SagaNodeEventType};

use super::run::internal;
use crate::event::{EventKind, Failure, OperationState};
use crate::id::OperationId;
use crate::step::action::StepAction as _;
use crate::step::await_certificate::AwaitCertificate;
use crate::store::steps::{StepPhase, StepRecord, StepRecords};
use crate::store::{Store, StoreError};

/// Puts into the table of steps what there is of an operation that has nothing in it.
///
/// # Errors
/// When something of it cannot be read, or the store does not answer.
pub(super) async fn carry_over(store: &Store, id: OperationId) -> Result<(), StoreError> {
    if !store.steps(id).await?.is_empty() {
        return Ok(());
    }
    let Some(nodes) = nodes(store, id).await? else { return Ok(()) };
    let mut steps = begun(store, id).await?;
    for (node, entry) in store.saga_events::<SagaNodeEventType>(id).await? {
        let Some(node) = nodes.get(&(node as usize)) else { continue };
        if let Some(record) = steps.get_mut(node.step()) {
            apply(record, node, entry);
        }
    }
    let is_waiting = store.operation(id).await?.is_some_and(|it| it.state == OperationState::Waiting);
    // The one step that could.
    let waiting = steps.get_mut(AwaitCertificate::NAME).filter(|it| is_waiting && it.phase == StepPhase::Running);
    if let Some(record) = waiting {
        record.phase = StepPhase::Waiting;
    }
    store.import_steps(id, &steps).await
}

/// A node of the graph that has to do with a step.
enum Node {
    /// Runs it.
    Run(String),
    /// Takes it back.
    Undo(String),
}

impl Node {
    fn step(&self) -> &str {
        match self {
            Self::Run(step) | Self::Undo(step) => step,
        }
    }
}

/// The nodes of the graph by their numbers; `None` when there is none yet.
async fn nodes(store: &Store, id: OperationId) -> Result<Option<BTreeMap<usize, Node>>, StoreError> {
    let Some(dag) = store.saga_dag(id).await? else { return Ok(None) };
    let dag: SagaDag = serde_json::from_value(dag)
        .map_err(|source| StoreError::Corrupt { what: "operations.dag", source: source.into() })?;
    let node = |name: &str| {
        name.strip_prefix("guard of ").map_or_else(|| Node::Run(name.to_owned()), |step| Node::Undo(step.to_owned()))
    };
    Ok(Some(dag.get_nodes().map(|it| (it.index().index(), node(it.name().as_ref()))).collect()))
}

/// The steps that were begun, as their events tell it.
async fn begun(store: &Store, id: OperationId) -> Result<StepRecords, StoreError> {
    let mut steps = StepRecords::new();
    for event in store.events(id, 0).await? {
        match event.kind {
            EventKind::StepStarted { step, .. } => {
                steps.entry(step).and_modify(|it| it.attempt += 1).or_insert_with(|| StepRecord::begun(event.at));
            }
            EventKind::StepSucceeded { step, .. } | EventKind::StepFailed { step, .. } => {
                if let Some(record) = steps.get_mut(&step) {
                    record.ended_at = Some(event.at);
                }
            }
            EventKind::StepUndoing { step } => {
                if let Some(record) = steps.get_mut(&step) {
                    record.attempt += 1;
                    record.undo_failure = None;
                }
            }
            EventKind::StepUndoFailed { step, failure } => {
                if let Some(record) = steps.get_mut(&step) {
                    record.undo_failure = Some(failure);
                }
            }
            EventKind::Unreadable => {
                let source = "an event is unreadable".into();
                return Err(StoreError::Corrupt { what: "operation_events.event", source });
            }
            EventKind::OperationState { .. }
            | EventKind::StepProgress { .. }
            | EventKind::StepRetrying { .. }
            | EventKind::StepUndone { .. }
            | EventKind::Warning { .. } => (),
        }
    }
    Ok(steps)
}

/// Takes over an entry of the engine's log.
fn apply(record: &mut StepRecord, node: &Node, entry: SagaNodeEventType) {
    match (node, entry) {
        (Node::Run(_), SagaNodeEventType::Succeeded(output)) => {
            record.output = Some(Arc::unwrap_or_clone(output));
            record.phase = StepPhase::Succeeded;
        }
        (Node::Run(_), SagaNodeEventType::Failed(error)) => {
            let text = error.to_string();
            record.failure = Some(error.convert::<Failure>().unwrap_or_else(|_| internal(text)));
            record.phase = StepPhase::Failed;
        }
        (Node::Undo(_), SagaNodeEventType::UndoStarted) => record.phase = StepPhase::Undoing,
        (Node::Undo(_), SagaNodeEventType::UndoFinished) => record.phase = StepPhase::Undone,
        (Node::Undo(_), SagaNodeEventType::UndoFailed(_)) => record.phase = StepPhase::UndoFailed,
        (
            Node::Run(_),
            SagaNodeEventType::Started
            | SagaNodeEventType::UndoStarted
            | SagaNodeEventType::UndoFinished
            | SagaNodeEventType::UndoFailed(_),
        )
        | (
            Node::Undo(_),
            SagaNodeEventType::Started | SagaNodeEventType::Succeeded(_) | SagaNodeEventType::Failed(_),
        ) => (),
    }
}
