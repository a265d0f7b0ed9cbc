//! What a plan is made from, and why there may be none.

use crate::config::Settings;
use crate::id::{DeploymentId, Region};
use crate::step::apply_application::Previous;
use crate::store::record::{Deployment, Target, Version};

/// What a plan is made from.
#[derive(Debug)]
pub struct PlanInput<'a> {
    /// The deployment, as it is before the operation.
    pub deployment: &'a Deployment,
    /// Its versions that can run again, oldest first.
    pub versions: &'a [Version],
    /// The target that it runs on, as it is before the operation.
    pub target: &'a Target,
    /// Other deployments run on the target, or are about to.
    pub shares_target: bool,
    /// Those that are there already.
    pub other_deployments: &'a [Deployment],
    /// Those on the target that are removed together with this one, which goes last and takes the target with it.
    pub removed_before: &'a [DeploymentId],
    /// The request brings new environment variables.
    pub replaces_environment: bool,
    /// The settings.
    pub settings: &'a Settings,
}

impl PlanInput<'_> {
    /// What runs now; nothing while the deployment is new.
    pub(super) fn previous(&self) -> Option<Previous> {
        let facts = &self.deployment.facts;
        facts.version.clone().map(|version| Previous {
            version,
            replicas: facts.replicas.unwrap_or(1),
            node_port: facts.node_port,
        })
    }

    /// The region that the target lies in; `what` it is, for the case that nobody said so.
    pub(super) fn region(&self, what: &str) -> Result<Region, PlanError> {
        self.target.region.clone().ok_or_else(|| PlanError::NotPossible {
            message: format!("it is not known in which region the {what} is"),
            param: Some("aws_credentials.aws_region"),
        })
    }
}

/// Says why there is no plan: something lacks, or is in the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The deployment has no version to do this with.
    #[error("{message}")]
    NotPossible {
        /// What is missing and what would help.
        message: String,
        /// The field to change.
        param: Option<&'static str>,
    },
}
