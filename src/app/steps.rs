//! The steps of an operation as they stand: its plan, told by its events.

use crate::event::{Event, EventKind};
use crate::plan::Plan;
use crate::reply::view::{StepState, StepView};

/// Replays the events on the plan's steps.
pub(super) fn views(plan: &Plan, events: &[Event]) -> Vec<StepView> {
    let mut views: Vec<StepView> = plan
        .steps()
        .into_iter()
        .map(|step| StepView {
            step: step.name().to_owned(),
            title: step.title(),
            state: StepState::Pending,
            already: false,
            elapsed_ms: None,
            text: None,
        })
        .collect();
    for event in events {
        apply(&mut views, &event.kind);
    }
    views
}

fn apply(views: &mut [StepView], event: &EventKind) {
    let mut of = |name: &str, change: &dyn Fn(&mut StepView)| {
        if let Some(view) = views.iter_mut().find(|view| view.step == name) {
            change(view);
        }
    };
    match event {
        EventKind::StepStarted { step, .. } => of(step, &|view| view.state = StepState::Running),
        EventKind::StepProgress { step, text } => of(step, &|view| view.text = Some(text.clone())),
        EventKind::StepRetrying { step, reason, .. } => of(step, &|view| view.text = Some(reason.clone())),
        EventKind::StepSucceeded { step, summary, already, elapsed_ms } => of(step, &|view| {
            view.state = StepState::Succeeded;
            view.already = *already;
            view.elapsed_ms = Some(*elapsed_ms);
            view.text = Some(summary.clone());
        }),
        EventKind::StepFailed { step, failure } => of(step, &|view| {
            view.state = StepState::Failed;
            view.text = Some(failure.message.clone());
        }),
        EventKind::StepUndoing { step } => of(step, &|view| view.state = StepState::Undoing),
        EventKind::StepUndone { step, removed } => of(step, &|view| {
            view.state = StepState::Undone;
            if !removed.is_empty() {
                view.text = Some(removed.join(", "));
            }
        }),
        EventKind::StepUndoFailed { step, failure } => of(step, &|view| {
            view.state = StepState::UndoFailed;
            view.text = Some(failure.message.clone());
        }),
        EventKind::OperationState { .. } | EventKind::Warning { .. } => (),
    }
}
