//! The KMS key that the secrets of an EKS cluster may be encrypted with.

use aws_sdk_kms::types::KeyState;

use super::deletion::ignore_not_found;
use super::{Aws, AwsError, AwsErrorKind};

/// In how many days a key goes: KMS knows nothing shorter ("Delete an AWS KMS key" in its developer guide).
const PENDING_WINDOW_DAYS: i32 = 7;

impl Aws {
    /// Whether there is a key with this id that is not about to go.
    pub(super) async fn has_encryption_key(&self, id: &str) -> Result<bool, AwsError> {
        let answer = self.kms.describe_key().key_id(id).send().await;
        match answer.map_err(|error| AwsError::from_sdk("kms:DescribeKey", &error)) {
            Ok(answer) => Ok(answer.key_metadata().is_some_and(|key| {
                !matches!(key.key_state(), Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion))
            })),
            Err(error) if error.kind == AwsErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Has a key deleted at the earliest time that KMS allows; one that is not there is fine.
    pub(super) async fn delete_encryption_key(&self, id: &str) -> Result<(), AwsError> {
        let call = self.kms.schedule_key_deletion().key_id(id).pending_window_in_days(PENDING_WINDOW_DAYS);
        match ignore_not_found(
            call.send().await.map(drop).map_err(|e| AwsError::from_sdk("kms:ScheduleKeyDeletion", &e)),
        ) {
            // It is about to go already.
            Err(error) if error.is("KMSInvalidStateException") => Ok(()),
            result => result,
        }
    }
}
