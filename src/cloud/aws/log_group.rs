//! The log group of `CloudWatch` that the control plane of an EKS cluster writes to.

use super::deletion::ignore_not_found;
use super::remains::Owner;
use super::resource::{Resource, ResourceKind};
use super::{Aws, AwsError, TARGET_TAG};

/// What EKS calls the group of a cluster ("Send control plane logs to `CloudWatch` Logs" in the EKS user guide).
fn name_of(cluster: &str) -> String {
    format!("/aws/eks/{cluster}/cluster")
}

impl Aws {
    /// The log group of a target's cluster. EKS may make it again after it was deleted, without a tag: one that is younger
    /// than the target is the target's.
    pub(super) async fn log_groups_of(&self, owner: Owner<'_>, cluster: &str) -> Result<Vec<Resource>, AwsError> {
        let name = name_of(cluster);
        let Some(group) = self.log_group(&name).await? else { return Ok(Vec::new()) };
        let is_younger = |begun_ms: i64| group.creation_time().is_some_and(|created_ms| created_ms >= begun_ms);
        let is_ours = owner.begun_ms.is_some_and(is_younger) || self.is_tagged(&group, owner).await?;
        Ok(is_ours.then_some(Resource { kind: ResourceKind::LogGroup, id: name }).into_iter().collect())
    }

    async fn is_tagged(
        &self,
        group: &aws_sdk_cloudwatchlogs::types::LogGroup,
        owner: Owner<'_>,
    ) -> Result<bool, AwsError> {
        let Some(arn) = group.log_group_arn().or(group.arn()) else { return Ok(false) };
        let answer = self.logs.list_tags_for_resource().resource_arn(arn.trim_end_matches(":*")).send().await;
        let answer = answer.map_err(|error| AwsError::from_sdk("logs:ListTagsForResource", &error))?;
        let target = answer.tags().and_then(|tags| tags.get(TARGET_TAG));
        Ok(target == Some(&owner.target.to_string()))
    }

    /// Whether there is a log group of this name.
    pub(super) async fn has_log_group(&self, name: &str) -> Result<bool, AwsError> {
        Ok(self.log_group(name).await?.is_some())
    }

    async fn log_group(&self, name: &str) -> Result<Option<aws_sdk_cloudwatchlogs::types::LogGroup>, AwsError> {
        // The exact name comes first among those that begin with it.
        let answer = self.logs.describe_log_groups().log_group_name_prefix(name).limit(1).send().await;
        let answer = answer.map_err(|error| AwsError::from_sdk("logs:DescribeLogGroups", &error))?;
        Ok(answer.log_groups.unwrap_or_default().into_iter().find(|it| it.log_group_name() == Some(name)))
    }

    /// Deletes a log group; one that is not there is fine.
    pub(super) async fn delete_log_group(&self, name: &str) -> Result<(), AwsError> {
        let answer = self.logs.delete_log_group().log_group_name(name).send().await;
        ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("logs:DeleteLogGroup", &error)))
    }
}
