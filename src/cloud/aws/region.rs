//! A region, and what an account has there: key pairs and subnets.

use aws_sdk_ec2::types::Filter;

use super::{Aws, AwsError, AwsErrorKind};

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Its id.
    pub id: String,
    /// Its availability zone.
    pub zone: String,
}

impl Aws {
    /// Whether the account may use the region.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer; in a region that does not exist nobody does.
    pub async fn has_region(&self) -> Result<bool, AwsError> {
        let answer = self.ec2.describe_regions().all_regions(true).region_names(self.region.as_str()).send().await;
        match answer.map_err(|error| AwsError::from_sdk("ec2:DescribeRegions", &error)) {
            Ok(answer) => Ok(answer.regions().iter().any(|it| it.opt_in_status() != Some("not-opted-in"))),
            Err(error) if error.is("InvalidParameterValue") || error.kind == AwsErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the key pair exists in the region.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn has_key_pair(&self, name: &str) -> Result<bool, AwsError> {
        let answer = self.ec2.describe_key_pairs().key_names(name).send().await;
        match answer.map_err(|error| AwsError::from_sdk("ec2:DescribeKeyPairs", &error)) {
            Ok(answer) => Ok(!answer.key_pairs().is_empty()),
            Err(error) if error.kind == AwsErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The given subnet, or those of the default VPC, in the order of their zones.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn subnets(&self, given: Option<&str>) -> Result<Vec<Subnet>, AwsError> {
        let call = self.ec2.describe_subnets();
        let call = match given {
            Some(id) => call.subnet_ids(id),
            None => call.filters(Filter::builder().name("default-for-az").values("true").build()),
        };
        let answer = match call.send().await.map_err(|error| AwsError::from_sdk("ec2:DescribeSubnets", &error)) {
            Ok(answer) => answer,
            Err(error) if error.kind == AwsErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let subnet = |it: &aws_sdk_ec2::types::Subnet| {
            Some(Subnet { id: it.subnet_id()?.to_owned(), zone: it.availability_zone()?.to_owned() })
        };
        let mut found: Vec<Subnet> = answer.subnets().iter().filter_map(subnet).collect();
        found.sort_by(|a, b| a.zone.cmp(&b.zone));
        Ok(found)
    }
}
