//! Network load balancers: those that a cluster's Services of type `LoadBalancer` have.

use aws_sdk_ec2::types::Filter;
use aws_sdk_elasticloadbalancingv2::types::{Certificate, LoadBalancer, ProtocolEnum, TagDescription};

use super::deletion::ignore_not_found;
use super::resource::{Resource, ResourceKind};
use super::{Aws, AwsError, AwsErrorKind};

/// How many load balancers' tags one call tells (`DescribeTags` in the API reference).
const BATCH: usize = 20;

/// A load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkLoadBalancer {
    /// Its ARN.
    pub arn: String,
    /// Its name in DNS.
    pub dns_name: String,
    /// The hosted zone of that name, which an alias has to tell.
    pub zone: String,
    /// `provisioning`, `active`, `active_impaired` or `failed`.
    pub state: String,
}

impl From<&LoadBalancer> for NetworkLoadBalancer {
    fn from(it: &LoadBalancer) -> Self {
        let state = it.state().and_then(|state| state.code()).map(|code| code.as_str().to_owned());
        Self {
            arn: it.load_balancer_arn().unwrap_or_default().to_owned(),
            dns_name: it.dns_name().unwrap_or_default().to_owned(),
            zone: it.canonical_hosted_zone_id().unwrap_or_default().to_owned(),
            state: state.unwrap_or_default(),
        }
    }
}

impl Aws {
    async fn load_balancers(&self) -> Result<Vec<NetworkLoadBalancer>, AwsError> {
        let all = self.elb.describe_load_balancers().into_paginator().items().send();
        let all: Result<Vec<LoadBalancer>, _> = all.collect().await;
        let all = all.map_err(|error| AwsError::from_sdk("elasticloadbalancing:DescribeLoadBalancers", &error))?;
        Ok(all.iter().map(NetworkLoadBalancer::from).collect())
    }

    /// The load balancer with this name in DNS.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn load_balancer(&self, dns_name: &str) -> Result<Option<NetworkLoadBalancer>, AwsError> {
        Ok(self.load_balancers().await?.into_iter().find(|it| it.dns_name.eq_ignore_ascii_case(dns_name)))
    }

    /// How many load balancers the account has here.
    pub(super) async fn count_load_balancers(&self) -> Result<usize, AwsError> {
        Ok(self.load_balancers().await?.len())
    }

    /// The load balancers that were made for a cluster's Services, by the tag that Kubernetes gives them.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused or AWS does not answer.
    pub async fn cluster_load_balancers(&self, cluster: &str) -> Result<Vec<NetworkLoadBalancer>, AwsError> {
        // The first is of the cloud provider's controller, the other of AWS' load balancer controller.
        let tags = [format!("kubernetes.io/cluster/{cluster}"), "elbv2.k8s.aws/cluster".to_owned()];
        let all = self.load_balancers().await?;
        let mut found = Vec::new();
        for batch in all.chunks(BATCH) {
            let arns = batch.iter().map(|it| it.arn.clone()).collect();
            let answer = self.elb.describe_tags().set_resource_arns(Some(arns)).send().await;
            let answer = match answer.map_err(|error| AwsError::from_sdk("elasticloadbalancing:DescribeTags", &error)) {
                Ok(answer) => answer,
                // AWS refuses the whole batch when one of them was deleted meanwhile; callers ask again.
                Err(error) if error.kind == AwsErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_ours = |it: &&NetworkLoadBalancer| {
                let of_it = answer.tag_descriptions().iter().filter(|tags| tags.resource_arn() == Some(&it.arn));
                of_it.flat_map(TagDescription::tags).any(|tag| {
                    tag.key() == Some(tags[0].as_str())
                        || (tag.key() == Some(tags[1].as_str()) && tag.value() == Some(cluster))
                })
            };
            found.extend(batch.iter().filter(is_ours).cloned());
        }
        Ok(found)
    }

    /// Deletes a load balancer; one that is not there is fine.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn delete_load_balancer(&self, arn: &str) -> Result<(), AwsError> {
        let answer = self.elb.delete_load_balancer().load_balancer_arn(arn).send().await;
        ignore_not_found(
            answer.map(drop).map_err(|error| AwsError::from_sdk("elasticloadbalancing:DeleteLoadBalancer", &error)),
        )
    }

    /// Whether there is a load balancer with this ARN.
    pub(super) async fn has_load_balancer(&self, arn: &str) -> Result<bool, AwsError> {
        Ok(self.load_balancers().await?.iter().any(|it| it.arn == arn))
    }

    /// The load balancers in a network, and where they send to.
    pub(super) async fn load_balancing_in(&self, vpc: &str) -> Result<Vec<Resource>, AwsError> {
        let (balancers, groups) = tokio::join!(
            self.elb.describe_load_balancers().into_paginator().items().send().collect::<Result<Vec<_>, _>>(),
            self.elb.describe_target_groups().into_paginator().items().send().collect::<Result<Vec<_>, _>>(),
        );
        let balancers = balancers.map_err(|e| AwsError::from_sdk("elasticloadbalancing:DescribeLoadBalancers", &e))?;
        let groups = groups.map_err(|e| AwsError::from_sdk("elasticloadbalancing:DescribeTargetGroups", &e))?;
        let balancers = balancers.into_iter().filter(|it| it.vpc_id() == Some(vpc));
        let groups = groups.into_iter().filter(|it| it.vpc_id() == Some(vpc));
        let balancers =
            balancers.filter_map(|it| Some(Resource { kind: ResourceKind::LoadBalancer, id: it.load_balancer_arn? }));
        let groups =
            groups.filter_map(|it| Some(Resource { kind: ResourceKind::TargetGroup, id: it.target_group_arn? }));
        Ok(balancers.chain(groups).collect())
    }

    /// Whether there is a target group with this ARN.
    pub(super) async fn has_target_group(&self, arn: &str) -> Result<bool, AwsError> {
        let answer = self.elb.describe_target_groups().target_group_arns(arn).send().await;
        match answer.map_err(|error| AwsError::from_sdk("elasticloadbalancing:DescribeTargetGroups", &error)) {
            Ok(answer) => Ok(!answer.target_groups().is_empty()),
            Err(error) if error.kind == AwsErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a target group; one that is not there is fine.
    pub(super) async fn delete_target_group(&self, arn: &str) -> Result<(), AwsError> {
        let answer = self.elb.delete_target_group().target_group_arn(arn).send().await;
        ignore_not_found(
            answer.map(drop).map_err(|error| AwsError::from_sdk("elasticloadbalancing:DeleteTargetGroup", &error)),
        )
    }

    /// The network interfaces of load balancers in a network: they keep it from going for a while.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn load_balancer_interfaces(&self, vpc: &str) -> Result<Vec<String>, AwsError> {
        let in_vpc = Filter::builder().name("vpc-id").values(vpc).build();
        // So AWS describes them ("Requester-managed network interfaces" in the EC2 user guide).
        let of_balancers = Filter::builder().name("description").values("ELB *").build();
        let answer = self.ec2.describe_network_interfaces().filters(in_vpc).filters(of_balancers).send().await;
        let answer = answer.map_err(|error| AwsError::from_sdk("ec2:DescribeNetworkInterfaces", &error))?;
        Ok(answer.network_interfaces.unwrap_or_default().into_iter().filter_map(|it| it.network_interface_id).collect())
    }

    /// The listener of a load balancer that ends TLS.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn tls_listener(&self, balancer: &str) -> Result<Option<String>, AwsError> {
        let answer = self.elb.describe_listeners().load_balancer_arn(balancer).send().await;
        let answer = answer.map_err(|error| AwsError::from_sdk("elasticloadbalancing:DescribeListeners", &error))?;
        let tls = answer.listeners().iter().find(|it| it.protocol() == Some(&ProtocolEnum::Tls));
        Ok(tls.and_then(|it| it.listener_arn().map(str::to_owned)))
    }

    /// The certificates that a listener serves beside its own, to clients that name their hosts.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn additional_certificates(&self, listener: &str) -> Result<Vec<String>, AwsError> {
        let answer = self.elb.describe_listener_certificates().listener_arn(listener).send().await;
        let answer =
            answer.map_err(|error| AwsError::from_sdk("elasticloadbalancing:DescribeListenerCertificates", &error))?;
        let further = answer.certificates().iter().filter(|it| it.is_default() != Some(true));
        Ok(further.filter_map(|it| it.certificate_arn().map(str::to_owned)).collect())
    }

    /// Lets a listener serve a certificate beside its own.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn add_certificate(&self, listener: &str, certificate: &str) -> Result<(), AwsError> {
        let certificate = Certificate::builder().certificate_arn(certificate).build();
        let call = self.elb.add_listener_certificates().listener_arn(listener).certificates(certificate);
        let answer = call.send().await.map(drop);
        answer.map_err(|error| AwsError::from_sdk("elasticloadbalancing:AddListenerCertificates", &error))
    }

    /// Lets a listener no longer serve a certificate that is not its own.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn remove_certificate(&self, listener: &str, certificate: &str) -> Result<(), AwsError> {
        let certificate = Certificate::builder().certificate_arn(certificate).build();
        let call = self.elb.remove_listener_certificates().listener_arn(listener).certificates(certificate);
        let answer = call.send().await.map(drop);
        ignore_not_found(answer.map_err(|e| AwsError::from_sdk("elasticloadbalancing:RemoveListenerCertificates", &e)))
    }
}
