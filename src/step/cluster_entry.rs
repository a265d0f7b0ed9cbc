//! Whom an EKS cluster lets in: whoever made it, and those with an access entry. To everybody else it says 401.

use super::cloud_target::{CloudTarget, Provisioned};
use super::cluster::eks_client;
use super::context::StepContext;
use super::error::StepError;
use crate::cloud::aws::Aws;
use crate::cloud::kube::error::KubeError;
use crate::event::Failure;
use crate::store::record::EksCluster;

/// What programs print when the API does not know who asks: its words for the status 401.
const UNAUTHENTICATED: [&str; 2] = ["the server has asked for the client to provide credentials", "Unauthorized"];

/// Makes sure that a cluster lets these credentials in, before anything is done for it. Other faults are for whoever asks
/// next.
///
/// # Errors
/// When it does not.
pub(super) async fn require_entry(aws: &Aws, cluster: &EksCluster) -> Result<(), StepError> {
    match eks_client(aws, cluster).await?.version().await {
        Err(error @ KubeError::Unauthorized) => Err(error.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

impl StepContext {
    /// Lets a cluster that this operation made refuse its maker for a while: who may enter is not known everywhere yet.
    /// Says of another one whom it lets in.
    pub(super) async fn explain_refused_entry(&self, error: StepError) -> StepError {
        let StepError::Permanent(failure) = &error else { return error };
        if !is_unauthenticated(failure) {
            return error;
        }
        if self.has_made_cluster() {
            return StepError::Settling(failure.clone());
        }
        self.refused_entry().await.unwrap_or(error)
    }

    fn has_made_cluster(&self) -> bool {
        let provisioned = self.stored::<Provisioned<EksCluster>>(EksCluster::PROVISIONED_BY);
        provisioned.ok().flatten().is_some_and(|it| it.made)
    }

    /// Whom the cluster lets in, and how these credentials get there; `None` when AWS does not tell who they are.
    async fn refused_entry(&self) -> Option<StepError> {
        let recorded = self.store.target(self.target.id).await.ok().flatten().and_then(|it| it.cluster);
        let EksCluster { name, region, .. } = recorded.or_else(|| self.cluster().ok())?;
        let aws = self.aws(&region).await.ok()?;
        let principal = aws.caller_identity().await.ok()?.principal();
        let partition = principal.split(':').nth(1).unwrap_or("aws");
        let let_in = match aws.access_entries(&name).await {
            Ok(arns) => format!("it lets in {}", arns.join(", ")),
            Err(error) => format!("whom it lets in cannot be told: {error}"),
        };
        Some(StepError::Explained(Failure {
            code: "cluster_access_denied".into(),
            message: format!("the EKS cluster `{name}` does not let in {principal}; {let_in}"),
            next_step: format!(
                "Send the credentials of one who may enter, or let this one in with theirs: \
                 `aws eks create-access-entry --region {region} --cluster-name {name} --principal-arn {principal}`, then \
                 `aws eks associate-access-policy --region {region} --cluster-name {name} --principal-arn {principal} \
                 --policy-arn arn:{partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy \
                 --access-scope type=cluster` (a role's ARN with its path, where it has one); new clusters let in whom `EKS_ADMIN_ARNS` names"
            ),
            output: Vec::new(),
        }))
    }
}

fn is_unauthenticated(failure: &Failure) -> bool {
    let says = |text: &str| UNAUTHENTICATED.iter().any(|it| text.contains(it));
    failure.message.contains(&KubeError::Unauthorized.to_string()) || failure.output.iter().any(|line| says(line))
}
