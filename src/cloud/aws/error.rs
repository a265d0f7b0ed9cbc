//! Errors of AWS, sorted by what can be done about them; also for what a program prints that talks to AWS.

use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// What is wrong, as far as it matters for what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwsErrorKind {
    /// AWS does not answer, or says that it has a problem.
    Unreachable,
    /// Too many calls.
    Throttled,
    /// The credentials are wrong, expired, or for another partition.
    Credentials,
    /// The credentials may not do this.
    Unauthorized,
    /// There is no capacity for this type of instance in this zone.
    NoCapacity,
    /// The account's limit is reached.
    Quota,
    /// What is meant is not there.
    NotFound,
    /// What is to be made is there.
    Exists,
    /// Something else is using it; AWS frees it within minutes.
    InUse,
    /// What was made or changed just now does not work everywhere yet.
    NotReady,
    /// Anything else.
    Refused,
}

/// Codes and texts, the most telling first: `RequestLimitExceeded` is no limit of what there may be.
const TABLE: &[(AwsErrorKind, &[&str])] = &[
    (
        AwsErrorKind::NoCapacity,
        &[
            "InsufficientInstanceCapacity",
            "InsufficientHostCapacity",
            "InsufficientCapacity",
            "InsufficientFreeAddresses",
        ],
    ),
    (
        AwsErrorKind::Throttled,
        &["RequestLimitExceeded", "Throttling", "Throttled", "TooManyRequests", "SlowDown", "RequestThrottled"],
    ),
    (
        AwsErrorKind::Quota,
        &["VcpuLimitExceeded", "InstanceLimitExceeded", "LimitExceeded", "MaxSpotInstanceCountExceeded"],
    ),
    (
        AwsErrorKind::Credentials,
        &[
            "AuthFailure",
            "InvalidClientTokenId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "UnrecognizedClient",
            "InvalidAccessKeyId",
            "RequestExpired",
            "IncompleteSignature",
            "MissingAuthenticationToken",
            "NoCredentialProviders",
            "no valid credential source",
        ],
    ),
    (
        AwsErrorKind::Unauthorized,
        &["UnauthorizedOperation", "AccessDenied", "OptInRequired", "not authorized to perform"],
    ),
    // EKS calls it `ResourceInUse` too.
    (AwsErrorKind::Exists, &["already exists", "AlreadyExists", "AlreadyOwned", ".Duplicate"]),
    (
        AwsErrorKind::NotReady,
        &[
            // A role that IAM does not know everywhere yet.
            "cannot be assumed",
            "could not be assumed",
            "Invalid IAM Instance Profile",
            "Invalid principal in policy",
            // A cluster or another thing that is about to change.
            "CREATING",
            "UPDATING",
            "update in progress",
            "being created",
            "ResourceNotReady",
            "PriorRequestNotComplete",
            "ConcurrentModification",
            "OperationAborted",
        ],
    ),
    (
        AwsErrorKind::InUse,
        &[
            "DependencyViolation",
            "IncorrectInstanceState",
            "IncorrectState",
            "VolumeInUse",
            "ResourceInUse",
            ".InUse",
            "DeleteConflict",
            "is currently in use",
        ],
    ),
    (AwsErrorKind::NotFound, &[".NotFound", "NotFound", "NoSuchEntity", ".Malformed"]),
    (
        AwsErrorKind::Unreachable,
        &[
            "InternalError",
            "InternalFailure",
            "ServiceUnavailable",
            "Unavailable",
            "RequestTimeout",
            "RequestError: send request failed",
            "connection refused",
            "connection reset",
            "i/o timeout",
            "no such host",
            "TLS handshake timeout",
            "context deadline exceeded",
            "unexpected EOF",
            "proxyconnect",
        ],
    ),
];

impl AwsErrorKind {
    /// Finds the kind in an error code or in what a program printed.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let row = TABLE.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
        row.map_or(Self::Refused, |(kind, _)| *kind)
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::Throttled) || self.is_settling()
    }

    /// Whether that may take minutes: AWS has to settle something.
    #[must_use]
    pub fn is_settling(self) -> bool {
        matches!(self, Self::InUse | Self::NotReady)
    }

    /// The stable code of the cause.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "aws_unreachable",
            Self::Throttled => "aws_throttled",
            Self::Credentials => "aws_credentials_refused",
            Self::Unauthorized => "aws_unauthorized",
            Self::NoCapacity => "aws_no_capacity",
            Self::Quota => "aws_quota_reached",
            Self::NotFound => "aws_not_found",
            Self::Exists => "aws_already_exists",
            Self::InUse => "aws_in_use",
            Self::NotReady => "aws_not_ready",
            Self::Refused => "aws_refused",
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn next_step(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "Check the network of this server and https://health.aws.amazon.com, and that the region exists; then try again"
            }
            Self::Throttled => "Something calls AWS very often with this account; try again in some minutes",
            Self::Credentials => {
                "Send `aws_credentials` that are valid now, or correct the settings `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`"
            }
            Self::Unauthorized => "Let the user or role do this (its IAM policy), or send other `aws_credentials`",
            Self::NoCapacity => {
                "Try again later, or set `EC2_INSTANCE_TYPE` to another type, or send another `aws_region`"
            }
            Self::Quota => "Terminate what is not needed, or ask for a higher limit in the Service Quotas console",
            Self::NotFound => "Was it deleted just now? Look at it in the EC2 console",
            Self::Exists => "Remove what has that name in AWS' console, or choose another name; then try again",
            Self::InUse => "See in AWS' console what uses it, then try again",
            Self::NotReady => "See in AWS' console what is under way, then try again in some minutes",
            Self::Refused => "Correct what AWS names, then try again",
        }
    }
}

/// Says which call failed and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {message}{}", .code.as_ref().map(|it| format!(" ({it})")).unwrap_or_default())]
pub struct AwsError {
    /// What is wrong.
    pub kind: AwsErrorKind,
    /// The call, as policies name it.
    pub call: &'static str,
    /// The code of AWS.
    pub code: Option<String>,
    /// What AWS says.
    pub message: String,
}

impl AwsError {
    /// From what the SDK says.
    pub(super) fn from_sdk<E>(call: &'static str, error: &SdkError<E>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        if let Some(service) = error.as_service_error() {
            let code = service.code().map(str::to_owned);
            let status = error.raw_response().map_or(0, |it| it.status().as_u16());
            let message = service.message().unwrap_or("AWS gives no reason").to_owned();
            let by_code = code.as_deref().map_or(AwsErrorKind::Refused, AwsErrorKind::from_text);
            let kind = match (by_code, status, AwsErrorKind::from_text(&message)) {
                // Codes that several faults share.
                (AwsErrorKind::InUse, _, it @ (AwsErrorKind::Exists | AwsErrorKind::NotReady)) => it,
                (AwsErrorKind::Refused, _, AwsErrorKind::NotReady) => AwsErrorKind::NotReady,
                (AwsErrorKind::Refused, 429, _) => AwsErrorKind::Throttled,
                (AwsErrorKind::Refused, 500.., _) => AwsErrorKind::Unreachable,
                (by_code, _, _) => by_code,
            };
            return Self { kind, call, code, message };
        }
        let message = DisplayErrorContext(error).to_string();
        let message = message.split(" (").next().unwrap_or_default().to_owned();
        let kind = if matches!(error, SdkError::ConstructionFailure(_)) {
            AwsErrorKind::Refused
        } else {
            AwsErrorKind::Unreachable
        };
        Self { kind, call, code: None, message: format!("AWS does not answer: {message}") }
    }

    /// Whether the code of AWS is this one.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_printed_texts_tell_the_fault() {
        let told = [
            ("InsufficientInstanceCapacity", AwsErrorKind::NoCapacity),
            ("Error launching source instance: VcpuLimitExceeded: You have requested more vCPU", AwsErrorKind::Quota),
            ("RequestLimitExceeded", AwsErrorKind::Throttled),
            ("ThrottlingException", AwsErrorKind::Throttled),
            ("AuthFailure: AWS was not able to validate the provided access credentials", AwsErrorKind::Credentials),
            ("UnauthorizedOperation: You are not authorized to perform this operation", AwsErrorKind::Unauthorized),
            ("dial tcp 127.0.0.1:5556: connect: connection refused", AwsErrorKind::Unreachable),
            ("InvalidKeyPair.NotFound", AwsErrorKind::NotFound),
            ("DependencyViolation: resource sg-1 has a dependent object", AwsErrorKind::InUse),
            ("ResourceInUseException: Cluster already exists with name: a", AwsErrorKind::Exists),
            ("InvalidGroup.Duplicate: The security group 'a' already exists for VPC 'b'", AwsErrorKind::Exists),
            ("ResourceInUseException: Cluster has nodegroups attached", AwsErrorKind::InUse),
            ("DeleteConflict: Cannot delete entity, must detach all policies first.", AwsErrorKind::InUse),
            ("ResourceInUseException: Cluster 'a' currently has update in progress", AwsErrorKind::NotReady),
            ("InvalidRequestException: cluster is in CREATING state", AwsErrorKind::NotReady),
            ("InvalidParameterException: Role with arn: a, could not be assumed because it", AwsErrorKind::NotReady),
            ("InvalidParameterValue", AwsErrorKind::Refused),
        ];

        for (text, kind) in told {
            assert_eq!(AwsErrorKind::from_text(text), kind, "{text}");
        }
        assert!(AwsErrorKind::Throttled.is_transient() && !AwsErrorKind::Throttled.is_settling());
        assert!(AwsErrorKind::InUse.is_settling() && AwsErrorKind::NotReady.is_settling());
        assert!(!AwsErrorKind::NoCapacity.is_transient() && !AwsErrorKind::Exists.is_transient());
    }
}
