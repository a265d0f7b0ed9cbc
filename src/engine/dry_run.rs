//! Looking at the world with a plan's own checks, without doing anything: what `dry_run` shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::event::Lines;
use crate::id::OperationId;
use crate::plan::Plan;
use crate::secret::Redactor;
use crate::step::context::StepContext;
use crate::step::error::StepError;
use crate::store::record::{Deployment, Target};

use super::{Engine, panic};

/// What a step's check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckOutcome {
    /// Whether there would be nothing to do; `None` when only running it tells.
    pub already: Option<bool>,
    /// What was found.
    pub note: Option<String>,
}

impl Engine {
    /// Asks every step of a plan whether its work is done already. A step after one that would work cannot be asked.
    pub async fn dry_run(&self, plan: &Plan, deployment: Deployment, target: Target) -> BTreeMap<String, CheckOutcome> {
        let shared = &self.0;
        let mut outputs = BTreeMap::new();
        let mut looked: BTreeMap<String, CheckOutcome> = BTreeMap::new();
        for (step, after) in plan.dependencies() {
            let known = after.iter().all(|name| outputs.contains_key(*name));
            let cx = StepContext {
                operation: OperationId::new(),
                deployment: deployment.clone(),
                target: target.clone(),
                hosts: shared.hosts.clone(),
                prices: shared.prices.clone(),
                store: shared.store.clone(),
                settings: Arc::clone(&shared.settings),
                sealer: shared.sealer.clone(),
                redactor: Redactor::from_settings(&shared.settings),
                lines: Lines::none(),
                cancel: shared.stopping.child_token(),
                outputs: Arc::new(outputs.clone()),
                step: step.name(),
                may_have_orphans: Arc::default(),
                begun_at: Timestamp::now(),
                waits_until: None,
            };
            let check = async { if known { step.check(&cx).await } else { Ok(None) } };
            let checked = panic::catch(Box::pin(check)).await;
            let found = match checked
                .unwrap_or_else(|said| Err(StepError::panicked(step.name(), cx.operation, &cx.redactor.redact(&said))))
            {
                Ok(Some(output)) => {
                    let note = Some(step.summary(&output)).filter(|note| !note.is_empty());
                    outputs.insert(step.name().to_owned(), output);
                    CheckOutcome { already: Some(true), note }
                }
                Ok(None) => CheckOutcome { already: known.then_some(false), note: None },
                Err(error) => CheckOutcome { already: None, note: Some(error.to_string()) },
            };
            looked.insert(step.name().to_owned(), found);
        }
        looked
    }
}
