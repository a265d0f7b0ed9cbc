//! What the account's quotas leave (Service Quotas).

use aws_sdk_ec2::types::{Filter, Instance, Reservation};
use aws_sdk_servicequotas::types::ServiceQuota;

use super::Aws;

/// "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", counted in vCPUs.
pub const STANDARD_VCPUS: &str = "L-1216C47A";
/// The families that count there, by the letters that their names begin with ("Amazon EC2 instance type quotas").
const STANDARD: &[&str] = &["a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"];

impl Aws {
    /// How many vCPUs of this type's family the account may still start on demand; `None` when AWS does not tell, or
    /// the family has a quota of its own. It is only a hint: not every account may ask.
    pub async fn vcpus_left(&self, instance_type: &str) -> Option<i64> {
        if !is_standard(instance_type) {
            return None;
        }
        let quota = self.quotas.get_service_quota().service_code("ec2").quota_code(STANDARD_VCPUS).send();
        let alive = Filter::builder().name("instance-state-name").values("pending").values("running").build();
        let running = self.ec2.describe_instances().filters(alive).into_paginator().items().send();
        let (quota, running) = tokio::join!(quota, running.collect::<Result<Vec<Reservation>, _>>());
        #[expect(clippy::cast_possible_truncation, reason = "a quota is a small whole number")]
        let quota = quota.ok()?.quota()?.value()? as i64;
        let used: i64 = running.ok()?.iter().flat_map(Reservation::instances).map(vcpus).sum();
        Some((quota - used).max(0))
    }
}

/// A quota that a new EKS cluster takes one or several of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaHeadroom {
    /// What it counts, in words.
    pub what: &'static str,
    /// Its code.
    pub code: &'static str,
    /// How many the account may still have here.
    pub left: i64,
}

impl Aws {
    /// What is left of the quotas that a new EKS cluster touches; those that AWS does not tell are left out.
    pub async fn cluster_quota_headroom(&self) -> Vec<QuotaHeadroom> {
        let (vpcs, addresses, balancers) = tokio::join!(
            async { self.ec2.describe_vpcs().send().await.ok().map(|it| it.vpcs().len()) },
            async { self.ec2.describe_addresses().send().await.ok().map(|it| it.addresses().len()) },
            async { self.count_load_balancers().await.ok() },
        );
        // Names and codes as in the Service Quotas console.
        let quotas = [
            ("VPCs", "vpc", "L-F678F1CE", vpcs),
            ("Elastic IP addresses", "ec2", "L-0263D0A3", addresses),
            ("network load balancers", "elasticloadbalancing", "L-69A177A2", balancers),
        ];
        let mut rooms = Vec::new();
        for (what, service, code, used) in quotas {
            let answer = self.quotas.get_service_quota().service_code(service).quota_code(code).send().await;
            let quota = answer.ok().and_then(|it| it.quota().and_then(ServiceQuota::value));
            if let (Some(quota), Some(used)) = (quota, used.and_then(|it| i64::try_from(it).ok())) {
                #[expect(clippy::cast_possible_truncation, reason = "a quota is a small whole number")]
                rooms.push(QuotaHeadroom { what, code, left: (quota as i64 - used).max(0) });
            }
        }
        rooms
    }
}

/// What an instance takes of the quota.
fn vcpus(instance: &Instance) -> i64 {
    let counts = instance.instance_type().is_some_and(|it| is_standard(it.as_str()));
    let options = instance.cpu_options().filter(|_| counts);
    options
        .map_or(0, |it| i64::from(it.core_count().unwrap_or_default()) * i64::from(it.threads_per_core().unwrap_or(1)))
}

fn is_standard(instance_type: &str) -> bool {
    let family = instance_type.split(|c: char| !c.is_ascii_lowercase()).next();
    family.is_some_and(|letters| STANDARD.contains(&letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_with_a_quota_of_their_own_do_not_count() {
        assert!(["t3.medium", "m6g.large", "im4gn.large", "z1d.large"].into_iter().all(is_standard));
        assert!(
            !["p4d.24xlarge", "inf1.xlarge", "dl1.24xlarge", "u-6tb1.metal", "hpc7a.96xlarge"]
                .into_iter()
                .any(is_standard)
        );
    }
}
