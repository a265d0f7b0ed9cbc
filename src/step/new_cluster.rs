//! What an EKS cluster that was made a moment ago refuses: who may come in is not known everywhere yet.

use super::cloud_target::{CloudTarget, Provisioned};
use super::context::StepContext;
use super::error::StepError;
use crate::cloud::kube::error::KubeError;
use crate::event::Failure;
use crate::store::record::EksCluster;

/// What programs print when the API does not know who asks: its words for the status 401.
const UNAUTHENTICATED: [&str; 2] = ["the server has asked for the client to provide credentials", "Unauthorized"];

impl StepContext {
    /// Lets a cluster that this operation made refuse its maker for a while.
    pub(super) fn excuse_new_cluster(&self, error: StepError) -> StepError {
        if let StepError::Permanent(failure) = &error
            && is_unauthenticated(failure)
            && self.has_made_cluster()
        {
            return StepError::Settling(failure.clone());
        }
        error
    }

    fn has_made_cluster(&self) -> bool {
        let provisioned = self.stored::<Provisioned<EksCluster>>(EksCluster::PROVISIONED_BY);
        provisioned.ok().flatten().is_some_and(|it| it.made)
    }
}

fn is_unauthenticated(failure: &Failure) -> bool {
    let says = |text: &str| UNAUTHENTICATED.iter().any(|it| text.contains(it));
    failure.message.contains(&KubeError::Unauthorized.to_string()) || failure.output.iter().any(|line| says(line))
}
