//! Asks AWS whether anything of a target is left.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::removal::{Removal, Removed};
use crate::cloud::aws::remains::Owner;
use crate::cloud::aws::resource::{Resource, ResourceKind};
use crate::event::Failure;
use crate::id::{Mode, Region};

/// Asks AWS whether anything of a target is left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyAccount {
    /// Where.
    pub region: Region,
}

impl Removal for VerifyAccount {
    const NAME: &'static str = "verify_account";

    fn title(&self) -> String {
        "Ask AWS whether anything is left".to_owned()
    }

    fn summary(&self, output: &Removed) -> String {
        let is_all_known = output.removed.is_empty();
        if is_all_known { "AWS knows of nothing more" } else { "AWS could not be asked for everything" }.to_owned()
    }

    /// The check itself is what it is there for.
    fn had_nothing_to_do(&self, _: &Removed) -> bool {
        false
    }

    fn receipt(&self, Removed { removed: not_known }: &Removed) -> Vec<String> {
        let region = &self.region;
        let asked = format!("asked AWS in {region}: nothing that carries the tag of this target is left");
        std::iter::once(asked).chain(not_known.iter().cloned()).collect()
    }

    /// Says what it could not find out.
    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        let aws = cx.aws_on_record(&self.region).await?;
        let is_cluster = cx.target.mode == Mode::CloudHosted;
        let cluster = is_cluster.then_some(cx.target.name.as_str());
        let owner = Owner { target: cx.target.id, cluster, begun_ms: Some(cx.operation.created_at().as_millisecond()) };
        let mut remains = Box::pin(aws.remains(owner)).await?;
        // EKS writes its last lines after the cluster is gone, into a group that it makes again.
        let late: Vec<Resource> =
            remains.found.iter().filter(|it| it.kind == ResourceKind::LogGroup).cloned().collect();
        if !late.is_empty() {
            cx.delete_resources(&aws, &late).await?;
            remains = Box::pin(aws.remains(owner)).await?;
        }
        let left: Vec<String> = remains.found.iter().map(ToString::to_string).collect();
        if left.is_empty() {
            return Ok(remains.not_known());
        }
        Err(StepError::Transient(Failure {
            code: "leftovers".into(),
            message: format!("still there: {}", left.join(", ")),
            next_step: "Send `decommission` again, or remove them in the EC2 console".into(),
            output: left,
        }))
    }
}
