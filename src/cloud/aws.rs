//! AWS: clients of one account and region, made of the credentials of one operation and never shared with another.
//!
//! The endpoint follows `AWS_ENDPOINT_URL`, as with AWS' own tools. The SDK itself tries again what is throttled or
//! answered with 5xx, and calls less often when it is throttled (its adaptive mode); what comes back as an error has failed
//! several times.

use std::fmt;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_ec2::config::{Credentials, ProvideCredentials};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::config::section::AwsKeys;
use crate::id::{PrincipalArn, Region};

pub mod deletion;
pub mod domain;
pub mod ecr;
pub mod eks;
mod encryption_key;
pub mod error;
pub mod instance;
pub mod instance_types;
pub mod load_balancer;
mod log_group;
pub mod machine_images;
pub mod permission;
pub mod policy;
mod price_endpoint;
pub mod price_list;
pub mod quota;
pub mod region;
pub mod remains;
pub mod resource;
pub mod rights;
mod role;

pub use error::{AwsError, AwsErrorKind};

/// Tag with the id of the target that a resource belongs to.
pub const TARGET_TAG: &str = "on-demand-infra:target";
/// Tag with the id of the operation that made a resource.
pub const OPERATION_TAG: &str = "on-demand-infra:operation";

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one attempt of a call may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);

/// Credentials of one account.
#[derive(Clone, Deserialize)]
pub struct AccessKeys {
    /// Access key id.
    pub access_key_id: SecretString,
    /// Secret access key.
    pub secret_access_key: SecretString,
    /// Session token of temporary credentials.
    pub session_token: Option<SecretString>,
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKeys(..)")
    }
}

impl AccessKeys {
    /// Reads what [`AccessKeys::to_json`] writes.
    #[must_use]
    pub fn from_json(json: &SecretString) -> Option<Self> {
        serde_json::from_str(json.expose_secret()).ok()
    }

    /// As one object, for sealing.
    #[must_use]
    pub fn to_json(&self) -> SecretString {
        let mut object = serde_json::Map::new();
        object.insert("access_key_id".into(), self.access_key_id.expose_secret().into());
        object.insert("secret_access_key".into(), self.secret_access_key.expose_secret().into());
        if let Some(token) = &self.session_token {
            object.insert("session_token".into(), token.expose_secret().into());
        }
        SecretString::from(serde_json::Value::from(object).to_string())
    }
}

impl From<&AccessKeys> for Credentials {
    fn from(it: &AccessKeys) -> Self {
        Self::new(
            it.access_key_id.expose_secret(),
            it.secret_access_key.expose_secret(),
            it.session_token.as_ref().map(|it| it.expose_secret().to_owned()),
            None,
            "operation",
        )
    }
}

impl From<&AwsKeys> for AccessKeys {
    fn from(it: &AwsKeys) -> Self {
        Self {
            access_key_id: it.access_key_id.clone(),
            secret_access_key: it.secret_access_key.clone(),
            session_token: it.session_token.clone(),
        }
    }
}

impl From<Credentials> for AccessKeys {
    fn from(it: Credentials) -> Self {
        Self {
            access_key_id: SecretString::from(it.access_key_id()),
            secret_access_key: SecretString::from(it.secret_access_key()),
            session_token: it.session_token().map(SecretString::from),
        }
    }
}

/// Clients of one account and region.
#[derive(Clone)]
pub struct Aws {
    acm: aws_sdk_acm::Client,
    autoscaling: aws_sdk_autoscaling::Client,
    ec2: aws_sdk_ec2::Client,
    ecr: aws_sdk_ecr::Client,
    eks: aws_sdk_eks::Client,
    elb: aws_sdk_elasticloadbalancingv2::Client,
    iam: aws_sdk_iam::Client,
    kms: aws_sdk_kms::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    prices: aws_sdk_pricing::Client,
    quotas: aws_sdk_servicequotas::Client,
    route53: aws_sdk_route53::Client,
    sts: aws_sdk_sts::Client,
    tagging: aws_sdk_resourcegroupstagging::Client,
    region: Region,
    keys: AccessKeys,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("region", &self.region).finish_non_exhaustive()
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerIdentity {
    /// Number of the account.
    pub account: String,
    /// Name of the user or role.
    pub arn: String,
}

impl CallerIdentity {
    /// The ARN of the user or role, as an access entry of EKS names it. A session of a role does not tell the role's path.
    #[must_use]
    pub fn principal(&self) -> String {
        let parts: Vec<&str> = self.arn.splitn(6, ':').collect();
        let [_, partition, "sts", _, account, name] = parts[..] else { return self.arn.clone() };
        let role = name.strip_prefix("assumed-role/").and_then(|it| it.split('/').next());
        role.map_or_else(|| self.arn.clone(), |role| format!("arn:{partition}:iam::{account}:role/{role}"))
    }

    /// Whether these are credentials of an IAM user or role. A session of a role has an ARN of its own, without the role's
    /// path: `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
    #[must_use]
    pub fn is(&self, principal: &PrincipalArn) -> bool {
        let name = |arn: &str| arn.rsplit(':').next().unwrap_or_default().to_owned();
        if principal.as_str().split(':').nth(4) != Some(self.account.as_str()) {
            return false;
        }
        let (caller, principal) = (name(&self.arn), name(principal.as_str()));
        match caller.strip_prefix("assumed-role/").and_then(|it| it.split('/').next()) {
            Some(role) => principal.strip_prefix("role/").and_then(|it| it.rsplit('/').next()) == Some(role),
            None => caller == principal,
        }
    }
}

impl Aws {
    /// Clients for a region: with these keys, or with those that AWS' own tools would find here. Nothing is called.
    ///
    /// # Errors
    /// [`AwsError`] when no keys are given and none are found.
    pub async fn connect(region: &Region, keys: Option<AccessKeys>) -> Result<Self, AwsError> {
        let limits = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .region(aws_config::Region::new(region.to_string()))
            .retry_config(RetryConfig::adaptive())
            .timeout_config(limits);
        let config = match &keys {
            Some(keys) => loader.credentials_provider(Credentials::from(keys)).load().await,
            None => loader.load().await,
        };
        let keys = match keys {
            Some(keys) => keys,
            None => found(&config).await?,
        };
        Ok(Self {
            acm: aws_sdk_acm::Client::new(&config),
            autoscaling: aws_sdk_autoscaling::Client::new(&config),
            ec2: aws_sdk_ec2::Client::new(&config),
            ecr: aws_sdk_ecr::Client::new(&config),
            eks: aws_sdk_eks::Client::new(&config),
            elb: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            kms: aws_sdk_kms::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            prices: price_endpoint::client(&config, region),
            quotas: aws_sdk_servicequotas::Client::new(&config),
            route53: aws_sdk_route53::Client::new(&config),
            sts: aws_sdk_sts::Client::new(&config),
            tagging: aws_sdk_resourcegroupstagging::Client::new(&config),
            region: region.clone(),
            keys,
        })
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The keys, for the environment of a program.
    #[must_use]
    pub fn access_keys(&self) -> &AccessKeys {
        &self.keys
    }

    /// Says whose credentials these are.
    ///
    /// # Errors
    /// [`AwsError`] when they are refused or AWS does not answer.
    pub async fn caller_identity(&self) -> Result<CallerIdentity, AwsError> {
        let it =
            self.sts.get_caller_identity().send().await.map_err(|e| AwsError::from_sdk("sts:GetCallerIdentity", &e))?;
        Ok(CallerIdentity { account: it.account.unwrap_or_default(), arn: it.arn.unwrap_or_default() })
    }
}

/// What the SDK's default chain finds: environment, profile, SSO, role of the machine.
async fn found(config: &SdkConfig) -> Result<AccessKeys, AwsError> {
    let none = |reason: String| AwsError {
        kind: AwsErrorKind::Credentials,
        call: "credentials",
        code: None,
        message: format!("no AWS credentials were found: {reason}"),
    };
    let provider = config.credentials_provider().ok_or_else(|| none("there is no provider of any".to_owned()))?;
    let credentials = provider.provide_credentials().await.map_err(|error| none(error.to_string()))?;
    Ok(AccessKeys::from(credentials))
}

#[cfg(test)]
mod tests {
    use aws_config::retry::RetryMode;

    use super::*;

    #[tokio::test]
    async fn a_client_that_is_throttled_calls_less_often() {
        let keys = AccessKeys {
            access_key_id: SecretString::from("AKIAEXAMPLE"),
            secret_access_key: SecretString::from("hush"),
            session_token: None,
        };

        let aws = Aws::connect(&Region::parse("eu-central-1").unwrap(), Some(keys)).await.unwrap();

        let modes = [
            aws.ec2.config().retry_config().map(RetryConfig::mode),
            aws.eks.config().retry_config().map(RetryConfig::mode),
            aws.route53.config().retry_config().map(RetryConfig::mode),
        ];
        assert_eq!(modes, [Some(RetryMode::Adaptive); 3]);
    }

    #[test]
    fn keys_come_back_from_their_json_and_are_not_shown() {
        let keys = AccessKeys {
            access_key_id: SecretString::from("AKIAEXAMPLE"),
            secret_access_key: SecretString::from("hush"),
            session_token: Some(SecretString::from("token")),
        };

        let back = AccessKeys::from_json(&keys.to_json()).unwrap();

        assert_eq!(back.secret_access_key.expose_secret(), "hush");
        assert_eq!(back.session_token.as_ref().map(ExposeSecret::expose_secret), Some("token"));
        assert!(!format!("{back:?}").contains("AKIA"));
    }
}
