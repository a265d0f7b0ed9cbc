//! ECR: the way into its registry, and what a repository holds.

use aws_sdk_ecr::types::{ImageIdentifier, Repository};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde_json::Value;

use super::deletion::ignore_not_found;
use super::{Aws, AwsError, AwsErrorKind, TARGET_TAG};

/// How many images one call may delete (`BatchDeleteImage` in the API reference).
const BATCH: usize = 100;

/// A login of the registry, good for twelve hours.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user, always `AWS`.
    pub user: String,
    /// The password.
    pub password: SecretString,
}

/// An image as a repository has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Digest of its manifest.
    pub digest: String,
    /// Digest of its configuration, which Docker calls the image's id.
    pub config: Option<String>,
}

impl Aws {
    /// A login of the account's registry.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn registry_login(&self) -> Result<Login, AwsError> {
        let answer = self.ecr.get_authorization_token().send().await;
        let answer = answer.map_err(|error| AwsError::from_sdk("ecr:GetAuthorizationToken", &error))?;
        let token = answer.authorization_data().first().and_then(|it| it.authorization_token());
        let plain = token.and_then(|it| STANDARD.decode(it).ok()).and_then(|it| String::from_utf8(it).ok());
        let (user, password) = plain.as_deref().and_then(|it| it.split_once(':')).ok_or_else(|| AwsError {
            kind: AwsErrorKind::Refused,
            call: "ecr:GetAuthorizationToken",
            code: None,
            message: "AWS gave no token".to_owned(),
        })?;
        Ok(Login { user: user.to_owned(), password: SecretString::from(password) })
    }

    /// Whether there is a repository of this name.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn has_repository(&self, name: &str) -> Result<bool, AwsError> {
        Ok(self.repository(name).await?.is_some())
    }

    /// The target that a repository was made for, by its tag; `None` for one that is not there or somebody else's.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused or AWS does not answer.
    pub async fn repository_target(&self, name: &str) -> Result<Option<String>, AwsError> {
        let Some(arn) = self.repository(name).await?.and_then(|it| it.repository_arn) else { return Ok(None) };
        let answer = self.ecr.list_tags_for_resource().resource_arn(arn).send().await;
        let answer = answer.map_err(|error| AwsError::from_sdk("ecr:ListTagsForResource", &error))?;
        Ok(answer.tags.unwrap_or_default().into_iter().find(|it| it.key == TARGET_TAG).map(|it| it.value))
    }

    async fn repository(&self, name: &str) -> Result<Option<Repository>, AwsError> {
        let answer = self.ecr.describe_repositories().repository_names(name).send().await;
        let found = answer.map(|it| it.repositories.unwrap_or_default().into_iter().next());
        ignore_not_found(found.map_err(|error| AwsError::from_sdk("ecr:DescribeRepositories", &error)))
    }

    /// The image with this tag.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn image_with_tag(&self, repository: &str, tag: &str) -> Result<Option<StoredImage>, AwsError> {
        self.stored_image(repository, ImageIdentifier::builder().image_tag(tag).build()).await
    }

    /// The image with this digest.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn image_with_digest(&self, repository: &str, digest: &str) -> Result<Option<StoredImage>, AwsError> {
        self.stored_image(repository, ImageIdentifier::builder().image_digest(digest).build()).await
    }

    async fn stored_image(&self, repository: &str, id: ImageIdentifier) -> Result<Option<StoredImage>, AwsError> {
        let answer = self.ecr.batch_get_image().repository_name(repository).image_ids(id).send().await;
        let answer = match answer.map_err(|error| AwsError::from_sdk("ecr:BatchGetImage", &error)) {
            Ok(answer) => answer,
            Err(error) if error.kind == AwsErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(answer.images().first().and_then(|image| {
            let manifest: Option<Value> = image.image_manifest().and_then(|text| serde_json::from_str(text).ok());
            let config = manifest.and_then(|it| it["config"]["digest"].as_str().map(str::to_owned));
            Some(StoredImage { digest: image.image_id()?.image_digest()?.to_owned(), config })
        }))
    }

    /// Deletes all images of a repository; one that is not there has none.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused or AWS does not answer.
    pub async fn empty_repository(&self, name: &str) -> Result<(), AwsError> {
        let ids = self.ecr.list_images().repository_name(name).into_paginator().items().send();
        let ids: Result<Vec<ImageIdentifier>, _> = ids.collect().await;
        let ids = ignore_not_found(ids.map_err(|error| AwsError::from_sdk("ecr:ListImages", &error)))?;
        // By digest: an image goes with all of its tags.
        let mut digests: Vec<String> = ids.into_iter().filter_map(|it| it.image_digest).collect();
        digests.sort();
        digests.dedup();
        for batch in digests.chunks(BATCH) {
            let ids = batch.iter().map(|digest| ImageIdentifier::builder().image_digest(digest).build()).collect();
            let call = self.ecr.batch_delete_image().repository_name(name).set_image_ids(Some(ids));
            call.send().await.map_err(|error| AwsError::from_sdk("ecr:BatchDeleteImage", &error))?;
        }
        Ok(())
    }

    /// Deletes a repository with all that is in it; one that is not there is fine.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn delete_repository(&self, name: &str) -> Result<(), AwsError> {
        // What is gone has no tag: rights that a tag narrows are refused for it.
        if !Box::pin(self.has_repository(name)).await? {
            return Ok(());
        }
        let call = self.ecr.delete_repository().repository_name(name).force(true);
        ignore_not_found(
            call.send().await.map(drop).map_err(|error| AwsError::from_sdk("ecr:DeleteRepository", &error)),
        )
    }
}
