//! EKS: what it says of a cluster and its nodes, and the tokens that let a caller into the cluster's API.

use std::time::{Duration, SystemTime};

use aws_sdk_ec2::config::Credentials;
use aws_sdk_eks::types::{ClusterHealth, NodegroupHealth, NodegroupScalingConfig, VersionStatus};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use super::deletion::ignore_not_found;
use super::{AccessKeys, Aws, AwsError, AwsErrorKind, TARGET_TAG};
use crate::id::Region;

/// How a token begins ("Cluster access with IAM" in aws-iam-authenticator's documentation).
const TOKEN_PREFIX: &str = "k8s-aws-v1.";
/// The signed header with the name of the cluster that a token is for.
const CLUSTER_HEADER: &str = "x-k8s-aws-id";
/// Seconds that the signed request says of itself; a cluster accepts its token for 15 minutes whatever it says.
const EXPIRES: Duration = Duration::from_mins(1);

/// A cluster as EKS describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedCluster {
    /// `CREATING`, `ACTIVE`, `UPDATING`, `DELETING`, `FAILED` or `PENDING`.
    pub status: String,
    /// Address of its API, once it has one.
    pub endpoint: String,
    /// Certificate of its authority, PEM in base64, once it has one.
    pub authority: String,
    /// Kubernetes version.
    pub version: String,
    /// Number of the account that it is in.
    pub account: String,
    /// Network that it lies in.
    pub vpc: String,
    /// The target that it was made for.
    pub target: Option<String>,
    /// What EKS finds wrong with it.
    pub issues: Vec<String>,
}

impl DescribedCluster {
    /// Whether EKS is deleting it, which nothing stops: it has no nodes any more, and its API answers only by chance.
    #[must_use]
    pub fn is_being_deleted(&self) -> bool {
        self.status == "DELETING"
    }
}

/// A group of nodes as EKS describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeGroup {
    /// Its name.
    pub name: String,
    /// `CREATING`, `ACTIVE`, `UPDATING`, `DELETING`, `CREATE_FAILED`, `DELETE_FAILED` or `DEGRADED`.
    pub status: String,
    /// How many nodes it has at least.
    pub min: u16,
    /// How many nodes it should have.
    pub desired: u16,
    /// How many it may have.
    pub max: u16,
    /// What EKS finds wrong with it.
    pub issues: Vec<String>,
}

/// A Kubernetes version that EKS has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedVersion {
    /// Such as `1.35`.
    pub version: String,
    /// Whether a new cluster gets it when nothing else is asked for.
    pub is_default: bool,
    /// Whether it is past its standard support, and costs more.
    pub is_extended: bool,
}

impl Aws {
    /// The Kubernetes versions that a new cluster can have.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn offered_versions(&self) -> Result<Vec<OfferedVersion>, AwsError> {
        let all: Result<Vec<_>, _> =
            self.eks.describe_cluster_versions().into_paginator().items().send().collect().await;
        let all = all.map_err(|error| AwsError::from_sdk("eks:DescribeClusterVersions", &error))?;
        let offered = all.into_iter().filter_map(|it| {
            let status = it.version_status()?;
            let is_extended = *status == VersionStatus::ExtendedSupport;
            let is_offered = is_extended || *status == VersionStatus::StandardSupport;
            let is_default = it.default_version;
            it.cluster_version.filter(|_| is_offered).map(|version| OfferedVersion { version, is_default, is_extended })
        });
        Ok(offered.collect())
    }

    /// Who may enter a cluster by an access entry, as ARNs of users and roles.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused, the cluster has no access entries or AWS does not answer.
    pub async fn access_entries(&self, cluster: &str) -> Result<Vec<String>, AwsError> {
        let all = self.eks.list_access_entries().cluster_name(cluster).into_paginator().items().send();
        let all: Result<Vec<_>, _> = all.collect().await;
        all.map_err(|error| AwsError::from_sdk("eks:ListAccessEntries", &error))
    }

    /// What EKS says of a cluster; `None` when there is none of that name.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn cluster(&self, name: &str) -> Result<Option<DescribedCluster>, AwsError> {
        let answer = self.eks.describe_cluster().name(name).send().await;
        let found = match answer.map_err(|error| AwsError::from_sdk("eks:DescribeCluster", &error)) {
            Ok(answer) => answer.cluster,
            Err(error) if error.kind == AwsErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(found.map(|it| {
            let issues = it.health.iter().flat_map(ClusterHealth::issues).filter_map(|it| it.message.clone());
            DescribedCluster {
                status: it.status.as_ref().map(|it| it.as_str().to_owned()).unwrap_or_default(),
                endpoint: it.endpoint.clone().unwrap_or_default(),
                authority: it.certificate_authority.as_ref().and_then(|it| it.data.clone()).unwrap_or_default(),
                version: it.version.clone().unwrap_or_default(),
                // arn:PARTITION:eks:REGION:ACCOUNT:cluster/NAME
                account: it.arn.as_deref().and_then(|arn| arn.split(':').nth(4)).unwrap_or_default().to_owned(),
                vpc: it.resources_vpc_config.as_ref().and_then(|it| it.vpc_id.clone()).unwrap_or_default(),
                target: it.tags.as_ref().and_then(|tags| tags.get(TARGET_TAG).cloned()),
                issues: issues.collect(),
            }
        }))
    }

    /// The managed node groups of a cluster; none when there is no such cluster.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused or AWS does not answer.
    pub async fn node_groups(&self, cluster: &str) -> Result<Vec<NodeGroup>, AwsError> {
        let names = self.eks.list_nodegroups().cluster_name(cluster).into_paginator().items().send();
        let names: Result<Vec<String>, _> = names.collect().await;
        let names = match names.map_err(|error| AwsError::from_sdk("eks:ListNodegroups", &error)) {
            Ok(names) => names,
            Err(error) if error.kind == AwsErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut groups = Vec::new();
        for name in names {
            let answer = self.eks.describe_nodegroup().cluster_name(cluster).nodegroup_name(&name).send().await;
            let found = match answer.map_err(|error| AwsError::from_sdk("eks:DescribeNodegroup", &error)) {
                Ok(answer) => answer.nodegroup,
                Err(error) if error.kind == AwsErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let Some(it) = found else { continue };
            let size = |number: Option<i32>| number.and_then(|it| u16::try_from(it).ok()).unwrap_or_default();
            let scaling = it.scaling_config.as_ref();
            let issues = it.health.iter().flat_map(NodegroupHealth::issues).filter_map(|it| it.message.clone());
            groups.push(NodeGroup {
                status: it.status.as_ref().map(|it| it.as_str().to_owned()).unwrap_or_default(),
                min: size(scaling.and_then(|it| it.min_size)),
                desired: size(scaling.and_then(|it| it.desired_size)),
                max: size(scaling.and_then(|it| it.max_size)),
                issues: issues.collect(),
                name,
            });
        }
        Ok(groups)
    }

    /// Asks for another size of a node group. Does not wait for the nodes.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn resize_node_group(&self, cluster: &str, group: &str, desired: u16) -> Result<(), AwsError> {
        let size = NodegroupScalingConfig::builder().desired_size(i32::from(desired)).build();
        let call = self.eks.update_nodegroup_config().cluster_name(cluster).nodegroup_name(group).scaling_config(size);
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("eks:UpdateNodegroupConfig", &error))
    }

    /// Ends the instance of a node for good: its group has one less afterwards. EKS itself ends any of a group's nodes.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn end_node(&self, instance: &str) -> Result<(), AwsError> {
        let call = self.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(instance);
        let answer = call.should_decrement_desired_capacity(true).send().await;
        answer.map(drop).map_err(|error| AwsError::from_sdk("autoscaling:TerminateInstanceInAutoScalingGroup", &error))
    }

    /// Deletes a node group, and waits until it is gone.
    pub(super) async fn delete_node_group(&self, cluster: &str, group: &str) -> Result<(), AwsError> {
        let call = self.eks.delete_nodegroup().cluster_name(cluster).nodegroup_name(group);
        ignore_not_found(call.send().await.map(drop).map_err(|error| AwsError::from_sdk("eks:DeleteNodegroup", &error)))
    }

    /// Deletes a cluster. Does not wait until it is gone.
    pub(super) async fn delete_cluster(&self, cluster: &str) -> Result<(), AwsError> {
        let answer = self.eks.delete_cluster().name(cluster).send().await;
        ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("eks:DeleteCluster", &error)))
    }

    /// What signs tokens for a cluster's API.
    #[must_use]
    pub fn tokens(&self, cluster: &str) -> Tokens {
        Tokens { keys: self.keys.clone(), region: self.region.clone(), cluster: cluster.to_owned() }
    }
}

/// Signs tokens for the API of one cluster: each is a request to STS that is signed and never sent by us.
#[derive(Debug, Clone)]
pub struct Tokens {
    keys: AccessKeys,
    region: Region,
    cluster: String,
}

impl Tokens {
    /// A token that the cluster accepts for the next 15 minutes.
    ///
    /// # Errors
    /// [`AwsError`] when the keys cannot sign.
    pub fn sign(&self) -> Result<SecretString, AwsError> {
        self.sign_at(SystemTime::now())
    }

    fn sign_at(&self, time: SystemTime) -> Result<SecretString, AwsError> {
        let suffix = if self.region.as_str().starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let base = format!("https://sts.{}.{suffix}/?Action=GetCallerIdentity&Version=2011-06-15", self.region);
        let identity = Credentials::from(&self.keys).into();
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(EXPIRES);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region.as_str())
            .name("sts")
            .time(time)
            .settings(settings)
            .build()
            .map_err(|error| unsigned(&error))?
            .into();
        let headers = [(CLUSTER_HEADER, self.cluster.as_str())];
        let request = SignableRequest::new("GET", &base, headers.into_iter(), SignableBody::Bytes(&[]))
            .map_err(|error| unsigned(&error))?;
        let (instructions, _) = sign(request, &params).map_err(|error| unsigned(&error))?.into_parts();
        let mut url = url::Url::parse(&base).map_err(|error| unsigned(&error))?;
        let (_, signed) = instructions.into_parts();
        url.query_pairs_mut().extend_pairs(signed.iter().map(|(name, value)| (name, value.as_ref())));
        Ok(SecretString::from(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(url.as_str()))))
    }
}

fn unsigned(error: &dyn std::error::Error) -> AwsError {
    AwsError {
        kind: AwsErrorKind::Credentials,
        call: "sts:GetCallerIdentity",
        code: None,
        message: format!("a token for the cluster cannot be signed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_token_is_a_signed_request_that_names_the_cluster() {
        let keys = AccessKeys {
            access_key_id: SecretString::from("AKIAEXAMPLE"),
            secret_access_key: SecretString::from("hush"),
            session_token: Some(SecretString::from("a/b+c=")),
        };
        let region = Region::parse("eu-central-1").unwrap();
        let tokens = Tokens { keys, region, cluster: "shop".to_owned() };

        let token = tokens.sign_at(SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)).unwrap();

        let text = token.expose_secret().strip_prefix(TOKEN_PREFIX).unwrap();
        let url = String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
        assert!(url.starts_with("https://sts.eu-central-1.amazonaws.com/?Action=GetCallerIdentity&"), "{url}");
        assert!(url.contains("X-Amz-SignedHeaders=host%3Bx-k8s-aws-id"), "{url}");
        assert!(url.contains("X-Amz-Expires=60") && url.contains("X-Amz-Security-Token=a%2Fb%2Bc%3D"), "{url}");
        assert!(!url.contains("hush"));
    }
}
