//! Where AWS' price list is asked: it is the same everywhere, and is told in a few regions only.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_pricing::Client;
use aws_sdk_pricing::config::Builder;

use crate::id::Region;

/// How long an answer may take: a plan is not held up by what it costs.
const TIMEOUT: Duration = Duration::from_millis(2500);

/// The client that is near to a region.
pub(super) fn client(config: &SdkConfig, region: &Region) -> Client {
    let limits = TimeoutConfig::builder().operation_timeout(TIMEOUT).build();
    let config = Builder::from(config)
        .region(aws_config::Region::new(endpoint_region(region)))
        .retry_config(RetryConfig::disabled())
        .timeout_config(limits);
    Client::from_conf(config.build())
}

/// The nearest region that tells prices ("AWS Price List Query API endpoints").
fn endpoint_region(region: &Region) -> &'static str {
    match region.as_str().split('-').next() {
        Some("eu" | "af" | "me" | "il") => "eu-central-1",
        Some("ap") => "ap-south-1",
        _ => "us-east-1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_asked_where_they_are_told() {
        let of = |region: &str| endpoint_region(&Region::parse(region).unwrap());

        assert_eq!(
            [of("eu-west-3"), of("ap-northeast-1"), of("sa-east-1")],
            ["eu-central-1", "ap-south-1", "us-east-1"]
        );
    }
}
