//! Roles of IAM that carry a target's id in their names.
//!
//! AWS' list of tags knows nothing of IAM, and IAM's own tells no tags: the name is what they are found by.

use super::deletion::ignore_not_found;
use super::resource::{Resource, ResourceKind};
use super::{Aws, AwsError, AwsErrorKind};
use crate::id::TargetId;

impl Aws {
    /// The roles that were made for a target.
    pub(super) async fn roles_of(&self, target: TargetId) -> Result<Vec<Resource>, AwsError> {
        let all = self.iam.list_roles().into_paginator().items().send();
        let all: Result<Vec<_>, _> = all.collect().await;
        let all = all.map_err(|error| AwsError::from_sdk("iam:ListRoles", &error))?;
        let id = target.to_string();
        let ours = all.into_iter().map(|it| it.role_name).filter(|name| name.contains(&id));
        Ok(ours.map(|id| Resource { kind: ResourceKind::Role, id }).collect())
    }

    /// Whether there is a role of this name.
    pub(super) async fn has_role(&self, name: &str) -> Result<bool, AwsError> {
        let answer = self.iam.get_role().role_name(name).send().await;
        match answer.map_err(|error| AwsError::from_sdk("iam:GetRole", &error)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind == AwsErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a role with what hangs on it; one that is not there is fine.
    pub(super) async fn delete_role(&self, name: &str) -> Result<(), AwsError> {
        let iam = &self.iam;
        let (attached, inline, profiles) = tokio::join!(
            iam.list_attached_role_policies()
                .role_name(name)
                .into_paginator()
                .items()
                .send()
                .collect::<Result<Vec<_>, _>>(),
            iam.list_role_policies().role_name(name).into_paginator().items().send().collect::<Result<Vec<_>, _>>(),
            iam.list_instance_profiles_for_role()
                .role_name(name)
                .into_paginator()
                .items()
                .send()
                .collect::<Result<Vec<_>, _>>(),
        );
        let attached =
            ignore_not_found(attached.map_err(|error| AwsError::from_sdk("iam:ListAttachedRolePolicies", &error)))?;
        let inline = ignore_not_found(inline.map_err(|error| AwsError::from_sdk("iam:ListRolePolicies", &error)))?;
        let profiles =
            ignore_not_found(profiles.map_err(|error| AwsError::from_sdk("iam:ListInstanceProfilesForRole", &error)))?;
        for arn in attached.into_iter().filter_map(|it| it.policy_arn) {
            let answer = iam.detach_role_policy().role_name(name).policy_arn(arn).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("iam:DetachRolePolicy", &error)))?;
        }
        for policy in inline {
            let answer = iam.delete_role_policy().role_name(name).policy_name(policy).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("iam:DeleteRolePolicy", &error)))?;
        }
        for profile in profiles.into_iter().map(|it| it.instance_profile_name) {
            let call = iam.remove_role_from_instance_profile().role_name(name).instance_profile_name(profile);
            let answer = call.send().await.map(drop);
            ignore_not_found(answer.map_err(|error| AwsError::from_sdk("iam:RemoveRoleFromInstanceProfile", &error)))?;
        }
        let answer = iam.delete_role().role_name(name).send().await;
        ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("iam:DeleteRole", &error)))
    }
}
