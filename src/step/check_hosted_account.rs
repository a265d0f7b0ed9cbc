//! Stub.
use super::{Act, StepContext, StepError};
use crate::id::Region;
use serde::{Deserialize, Serialize};
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckHostedAccount {
    pub region: Region,
    pub domain: Option<crate::intent::Domain>,
}
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostedChecked {
    pub account: String,
    pub identity: String,
    pub host: Option<crate::store::record::Host>,
    pub zone_name: Option<String>,
    pub zones: Vec<String>,
    pub existing: bool,
    pub cost: Option<crate::cloud::price::Cost>,
}
impl Act for CheckHostedAccount {
    const NAME: &'static str = "check_hosted_account";
    type Output = HostedChecked;
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
