//! Operations with their steps as they stand: a plan, told by its events.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{App, AppError};
use crate::access::Caller;
use crate::event::EventKind;
use crate::id::OperationId;
use crate::plan::Plan;
use crate::reply::view::{OperationView, StepState, StepView};
use crate::step::Step;
use crate::store::StoreError;
use crate::store::operations::OperationFilter;
use crate::store::page::{Page, PageRequest};
use crate::store::record::{Operation, Unreadable};
use crate::store::terraform::WorkspaceRecord;
use crate::store::unreadable::UnreadableOperation;
use crate::tool::terraform::module;

impl App {
    /// Operations, newest first. One that cannot be read is told as far as it can be.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn operations(
        &self,
        caller: &Caller,
        filter: &OperationFilter,
        wanted: &PageRequest<OperationId>,
    ) -> Result<Page<OperationView>, AppError> {
        let page = self.0.store.operations(filter, caller.limits(), wanted).await?;
        self.operation_page(page).await
    }

    /// A page of operations as they are told.
    pub(super) async fn operation_page(
        &self,
        mut page: Page<Result<Operation, UnreadableOperation>>,
    ) -> Result<Page<OperationView>, AppError> {
        for operation in page.items.iter_mut().flatten() {
            self.tell(operation);
        }
        Ok(Page { items: self.operation_views(page.items).await?, has_more: page.has_more })
    }

    /// An operation with its steps and its deployment.
    ///
    /// # Errors
    /// [`AppError::Unreadable`] when its plan cannot be read; [`AppError::Internal`] when the store fails.
    pub async fn operation_view(&self, operation: Operation) -> Result<OperationView, AppError> {
        plan_of(&operation)?;
        let views = self.operation_views(vec![Ok(operation)]).await?;
        views.into_iter().next().ok_or_else(|| AppError::Internal("one operation has one view".into()))
    }

    /// The steps of an operation as they stand.
    ///
    /// # Errors
    /// [`AppError::Unreadable`] when its plan cannot be read; [`AppError::Internal`] when the store fails.
    pub async fn steps(&self, operation: &Operation) -> Result<Vec<StepView>, AppError> {
        let plan = plan_of(operation)?;
        let history = self.0.store.histories(&[operation.id]).await?.remove(&operation.id);
        Ok(views(&plan, &history.unwrap_or_default()))
    }

    /// The steps of a stuck operation that have done something which is not taken back, in words.
    pub(super) async fn leftovers(&self, operation: &Operation) -> Result<Vec<String>, AppError> {
        let plan = plan_of(operation)?;
        let can_be_undone: BTreeSet<&str> =
            plan.steps().into_iter().filter(|it| it.can_be_undone()).map(Step::name).collect();
        let is_left = |it: &StepView| match it.state {
            StepState::UndoFailed | StepState::Undoing | StepState::Failed => true,
            StepState::Succeeded => !it.already,
            StepState::Pending | StepState::Running | StepState::Undone => false,
        };
        let steps = self.steps(operation).await?;
        let left = steps.into_iter().filter(|it| is_left(it) && can_be_undone.contains(it.step.as_str()));
        Ok(left.map(|it| it.title).chain(self.owned(operation).await?).collect())
    }

    /// What is on record as made in a cloud for the deployment of an operation, in words.
    async fn owned(&self, operation: &Operation) -> Result<Vec<String>, AppError> {
        let store = &self.0.store;
        let target = store.target(operation.target).await?;
        let instance = target.as_ref().and_then(|it| it.instance.as_ref()).map(|it| it.id.as_str());
        let words = |(module, record): (String, WorkspaceRecord)| {
            let named = |name: &str| record.variable(name).unwrap_or_default();
            let what = match (module.as_str(), instance) {
                (module::CLOUD_LOCAL, Some(id)) => format!("EC2 instance `{id}`"),
                (module::CLOUD_LOCAL, None) => format!("EC2 instance with the name `{}`", named("name")),
                (module::CLOUD_HOSTED, _) => format!("EKS cluster `{}` with its network", named("name")),
                (module::ECR, _) => format!("ECR repository `{}`", named("name")),
                (module::CERTIFICATE, _) => format!("certificate of `{}`", named("host")),
                _ => format!("host name `{}`", named("host")),
            };
            let account = record.account.as_ref().map(|it| format!(" of the account {it}")).unwrap_or_default();
            format!("{what} in {}{account}", record.region)
        };
        let owned = store.terraform_workspaces(operation.target, operation.deployment).await?;
        Ok(owned.into_iter().map(words).collect())
    }

    /// All that belongs to these operations, in one look at each table.
    async fn operation_views(
        &self,
        operations: Vec<Result<Operation, UnreadableOperation>>,
    ) -> Result<Vec<OperationView>, AppError> {
        let ids: Vec<OperationId> = operations.iter().flatten().map(|it| it.id).collect();
        let deployments: BTreeSet<_> = operations
            .iter()
            .filter_map(|it| it.as_ref().map_or_else(|it| it.deployment, |it| Some(it.deployment)))
            .collect();
        let mut histories = self.0.store.histories(&ids).await?;
        let deployments = self.0.store.deployments_by_id(&deployments).await?;
        let view = |operation: Result<Operation, UnreadableOperation>| match operation {
            Ok(operation) => {
                let deployment = deployments.get(&operation.deployment).cloned();
                let history = histories.remove(&operation.id).unwrap_or_default();
                let (steps, what) = match Plan::deserialize(&operation.plan) {
                    Ok(plan) => (views(&plan, &history), history.contains(&EventKind::Unreadable).then_some("events")),
                    Err(_) => (Vec::new(), Some("plan")),
                };
                let written_by = operation.written_by.clone();
                let unreadable = what.map(|what| Unreadable { what: what.to_owned(), written_by });
                let secrets_kept_until = self.secrets_kept_until(&operation);
                OperationView { operation: Ok(operation), steps, deployment, unreadable, secrets_kept_until }
            }
            Err(operation) => {
                let deployment = operation.deployment.and_then(|id| deployments.get(&id).cloned());
                let unreadable = Some(operation.cause.clone());
                let steps = Vec::new();
                OperationView { operation: Err(operation), steps, deployment, unreadable, secrets_kept_until: None }
            }
        };
        Ok(operations.into_iter().map(view).collect())
    }
}

fn plan_of(operation: &Operation) -> Result<Plan, StoreError> {
    Plan::deserialize(&operation.plan).map_err(|_| StoreError::Unreadable {
        row: format!("operation `{}`", operation.id),
        cause: Unreadable { what: "plan".to_owned(), written_by: operation.written_by.clone() },
    })
}

/// Replays the events on the plan's steps.
fn views(plan: &Plan, events: &[EventKind]) -> Vec<StepView> {
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
        apply(&mut views, event);
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
            view.text = Some(failure.reason().to_owned());
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
        EventKind::OperationState { .. } | EventKind::Warning { .. } | EventKind::Unreadable => (),
    }
}
