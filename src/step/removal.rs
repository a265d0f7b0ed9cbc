//! Steps that remove something: what they have in common, and what they leave behind.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::context::StepContext;
use super::error::StepError;

/// What a removal removed, for the receipt.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Removed {
    /// In words.
    pub removed: Vec<String>,
}

impl Removed {
    /// In one line.
    #[must_use]
    pub fn summary(&self) -> String {
        if self.removed.is_empty() { "there was nothing to remove".to_owned() } else { self.removed.join(", ") }
    }
}

/// A step that removes something and says what; each is a [`StepAction`].
pub trait Removal: Serialize + DeserializeOwned + fmt::Debug + Send + Sync {
    /// Key in the table of steps.
    const NAME: &'static str;

    /// The step in words.
    fn title(&self) -> String;

    /// Share of the progress bar.
    fn weight(&self) -> u32 {
        1
    }

    /// What was removed, in one line.
    fn summary(&self, output: &Removed) -> String {
        output.summary()
    }

    /// Whether there was nothing to remove.
    fn had_nothing_to_do(&self, output: &Removed) -> bool {
        output.removed.is_empty()
    }

    /// What the receipt says of it.
    fn receipt(&self, output: &Removed) -> Vec<String> {
        output.removed.clone()
    }

    /// Says whether there is nothing to remove.
    fn is_gone(&self, _: &StepContext) -> impl Future<Output = Result<bool, StepError>> + Send {
        std::future::ready(Ok(false))
    }

    /// Removes it and says what was there, in words. Safe to call again after a crash half way.
    fn remove(&self, cx: &StepContext) -> impl Future<Output = Result<Vec<String>, StepError>> + Send;
}

impl<R: Removal> StepAction for R {
    const NAME: &'static str = R::NAME;
    type Output = Removed;

    fn title(&self) -> String {
        Removal::title(self)
    }

    fn weight(&self) -> u32 {
        Removal::weight(self)
    }

    fn summary(&self, output: &Removed) -> String {
        Removal::summary(self, output)
    }

    fn had_nothing_to_do(&self, output: &Removed) -> bool {
        Removal::had_nothing_to_do(self, output)
    }

    fn receipt(&self, output: &Removed) -> Vec<String> {
        Removal::receipt(self, output)
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<Removed>, StepError> {
        Ok(self.is_gone(cx).await?.then(Removed::default))
    }

    async fn run(&self, cx: &StepContext) -> Result<Removed, StepError> {
        Ok(Removed { removed: self.remove(cx).await? })
    }
}
