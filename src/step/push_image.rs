//! Stub.
use super::{Act, StepContext, StepError};
use crate::id::Region;
use serde::{Deserialize, Serialize};
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushImage {
    pub region: Region,
    pub image: Option<crate::id::ImageRef>,
}
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pushed {
    pub image: crate::id::ImageRef,
    pub digest: String,
    pub bytes_sent: u64,
    pub layers_sent: usize,
    pub layers_present: usize,
}
impl Act for PushImage {
    const NAME: &'static str = "push_image";
    type Output = Pushed;
    fn title(&self) -> String {
        String::new()
    }
    fn summary(&self, _: &Self::Output) -> String {
        String::new()
    }
    async fn check(&self, _: &StepContext) -> Result<Option<Self::Output>, StepError> {
        Ok(None)
    }
    async fn run(&self, _: &StepContext) -> Result<Self::Output, StepError> {
        Err(StepError::Cancelled)
    }
    async fn undo(&self, _: &StepContext, _: Option<Self::Output>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}
