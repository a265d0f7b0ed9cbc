//! What every step has: `StepAction` for the work, `StepUndo` for taking it back.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::StepContext;
use super::error::StepError;
use crate::store::record::Deployment;

/// One unit of work: the struct is its parameters, serde makes it durable.
pub trait StepAction: Serialize + DeserializeOwned + fmt::Debug + Send + Sync {
    /// Key in the table of steps. Renaming it orphans unfinished operations.
    const NAME: &'static str;
    /// What the step leaves behind for later steps and for its own undo.
    type Output: Serialize + DeserializeOwned + Send;

    /// The step in words, as a person reads it while it runs.
    fn title(&self) -> String;

    /// Share of the progress bar. Seconds on a warm machine is a good guess.
    fn weight(&self) -> u32 {
        1
    }

    /// Whether the step runs to its end when another step of the plan fails: what it makes is worth keeping.
    fn outlasts_failures(&self) -> bool {
        false
    }

    /// Whether all that it makes is on the target: there is nothing to take back when the target itself goes.
    fn is_on_target(&self) -> bool {
        false
    }

    /// What was done, in words that follow the title.
    fn summary(&self, output: &Self::Output) -> String;

    /// Whether it turned out while it ran that there was nothing to do.
    fn had_nothing_to_do(&self, _: &Self::Output) -> bool {
        false
    }

    /// What the receipt of the operation says of it.
    fn receipt(&self, _: &Self::Output) -> Vec<String> {
        Vec::new()
    }

    /// Takes over what is known of the deployment from now on.
    fn record(&self, _: &Self::Output, _: &mut Deployment) {}

    /// Looks at the world and says whether the work is already done. Without one, only `run` tells.
    fn check(&self, _: &StepContext) -> impl Future<Output = Result<Option<Self::Output>, StepError>> + Send {
        std::future::ready(Ok(None))
    }

    /// Does the work. Safe to call again after a crash half way. One that has to wait on something outside says so
    /// ([`StepError::Waiting`]) and is called again.
    fn run(&self, cx: &StepContext) -> impl Future<Output = Result<Self::Output, StepError>> + Send;
}

/// A step that can be taken back. One for which there is nothing to take back is marked so in the list of steps.
pub trait StepUndo: StepAction {
    /// Takes the work back and says what was removed or restored. `left` is `None` when `run` began but never reported.
    fn undo(
        &self,
        cx: &StepContext,
        left: Option<Self::Output>,
    ) -> impl Future<Output = Result<Vec<String>, StepError>> + Send;
}

impl StepContext {
    /// What an earlier step of this plan left behind.
    ///
    /// # Errors
    /// A permanent failure when the plan has no such step before this one.
    pub fn output<A: StepAction>(&self) -> Result<A::Output, StepError> {
        self.try_output::<A>()?.ok_or_else(|| {
            StepError::permanent(
                "internal_error",
                format!("the step `{}` needs `{}`, which left nothing behind", self.step, A::NAME),
                "Report this with the operation's id",
            )
        })
    }

    /// What an earlier step left behind; `None` when the plan has no such step.
    ///
    /// # Errors
    /// A permanent failure when what is stored cannot be read.
    pub fn try_output<A: StepAction>(&self) -> Result<Option<A::Output>, StepError> {
        self.stored(A::NAME)
    }
}
