//! Which rights of a mode the credentials lack: by IAM's own simulation when it may be asked, else by what can be tried
//! without doing anything.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};

use super::policy::{Statement, statements};
use super::{Aws, AwsError, AwsErrorKind, CallerIdentity, TARGET_TAG};
use crate::id::Mode;

/// What is known of the rights that a mode takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// Actions that the credentials may not do.
    pub missing: BTreeSet<String>,
    /// Actions of which nobody can tell without doing them.
    pub unknown: BTreeSet<String>,
    /// How many actions the mode takes.
    pub count: usize,
}

impl Aws {
    /// Which rights of a mode these credentials lack. Nothing is made or changed.
    ///
    /// # Errors
    /// [`AwsError`] when the credentials are wrong or AWS does not answer.
    pub async fn rights(&self, mode: Mode) -> Result<Rights, AwsError> {
        let identity = self.caller_identity().await?;
        let statements = statements(mode);
        let wanted: BTreeSet<String> = statements.iter().flat_map(|it| it.action.clone()).collect();
        let rights = Rights { count: wanted.len(), ..Rights::default() };
        let Some(source) = policy_source(&identity.arn) else {
            // Nothing is kept from the account's own user.
            return Ok(rights);
        };
        match self.simulate(&statements, &identity, &source).await {
            Ok(missing) => Ok(Rights { missing, ..rights }),
            Err(error) if error.kind.is_transient() || error.kind == AwsErrorKind::Credentials => Err(error),
            // It is a right of its own, which the policies do not hold.
            Err(_) => self.probe(mode, wanted, rights).await,
        }
    }

    /// The actions that IAM says are denied on all resources that a statement names.
    async fn simulate(
        &self,
        statements: &[Statement],
        identity: &CallerIdentity,
        source: &str,
    ) -> Result<BTreeSet<String>, AwsError> {
        let asked = statements.iter().map(|statement| async move {
            let context = statement.condition_keys(identity, &self.region).into_iter().map(|it| {
                let kind = match (it.is_list, it.is_boolean) {
                    (true, _) => ContextKeyTypeEnum::StringList,
                    (_, true) => ContextKeyTypeEnum::Boolean,
                    (false, false) => ContextKeyTypeEnum::String,
                };
                let entry = ContextEntry::builder().context_key_name(it.name).context_key_type(kind);
                entry.set_context_key_values(Some(it.values)).build()
            });
            let call = self.iam.simulate_principal_policy().policy_source_arn(source);
            let call =
                call.set_action_names(Some(statement.action.clone())).set_context_entries(Some(context.collect()));
            let call = call.set_resource_arns(Some(statement.resources(identity, &self.region)));
            let results: Result<Vec<EvaluationResult>, _> = call.into_paginator().items().send().collect().await;
            results.map_err(|error| AwsError::from_sdk("iam:SimulatePrincipalPolicy", &error))
        });
        let mut missing = BTreeSet::new();
        for results in join_all(asked).await {
            let results = results?;
            let allowed: BTreeSet<&str> =
                results.iter().filter(|it| is_allowed(it)).map(EvaluationResult::eval_action_name).collect();
            let denied = results.iter().map(EvaluationResult::eval_action_name).filter(|it| !allowed.contains(it));
            missing.extend(denied.map(str::to_owned));
        }
        Ok(missing)
    }

    /// Tries what changes nothing: lists, and EC2's dry runs.
    async fn probe(&self, mode: Mode, wanted: BTreeSet<String>, rights: Rights) -> Result<Rights, AwsError> {
        let (ec2, quotas) = (&self.ec2, &self.quotas);
        let tags = |kind: ResourceType| {
            let tag = Tag::builder().key(TARGET_TAG).value("dry-run").build();
            TagSpecification::builder().resource_type(kind).tags(tag).build()
        };
        /// Calls with their names, each ready to be made.
        macro_rules! calls {
            ($($name:literal => $call:expr),* $(,)?) => {
                [$(async {
                    let answer = $call.send().await.map(drop);
                    ($name, answer.map_err(|error| AwsError::from_sdk($name, &error)))
                }
                .boxed()),*]
            };
        }
        let mut calls: Vec<BoxFuture<'_, (&str, Result<(), AwsError>)>> = Vec::new();
        calls.extend(calls!(
            "ec2:DescribeInstanceTypeOfferings" => ec2.describe_instance_type_offerings().dry_run(true),
            "ec2:DescribeInstanceTypes" => ec2.describe_instance_types().dry_run(true),
            "ec2:DescribeInstances" => ec2.describe_instances().dry_run(true),
            "ec2:DescribeNetworkInterfaces" => ec2.describe_network_interfaces().dry_run(true),
            "ec2:DescribeRegions" => ec2.describe_regions().dry_run(true),
            "ec2:DescribeSubnets" => ec2.describe_subnets().dry_run(true),
            "servicequotas:GetServiceQuota" => quotas.get_service_quota().service_code("vpc").quota_code("L-F678F1CE"),
            "tag:GetResources" => self.tagging.get_resources().resources_per_page(1),
        ));
        match mode {
            Mode::Local => (),
            Mode::CloudLocal => {
                calls.extend(calls!(
                    "ec2:DescribeImages" => ec2.describe_images().dry_run(true),
                    "ec2:DescribeKeyPairs" => ec2.describe_key_pairs().dry_run(true),
                    "ec2:DescribeSecurityGroups" => ec2.describe_security_groups().dry_run(true),
                    "ec2:DescribeVolumes" => ec2.describe_volumes().dry_run(true),
                    "ec2:DescribeVpcs" => ec2.describe_vpcs().dry_run(true),
                    "ec2:CreateSecurityGroup" => ec2.create_security_group().dry_run(true).group_name("dry-run")
                        .description("dry run").tag_specifications(tags(ResourceType::SecurityGroup)),
                ));
            }
            Mode::CloudHosted => {
                calls.extend(calls!(
                    "ec2:DescribeAddresses" => ec2.describe_addresses().dry_run(true),
                    "ec2:DescribeInternetGateways" => ec2.describe_internet_gateways().dry_run(true),
                    "ec2:DescribeNatGateways" => ec2.describe_nat_gateways().dry_run(true),
                    "ec2:DescribeNetworkAcls" => ec2.describe_network_acls().dry_run(true),
                    "ec2:DescribeRouteTables" => ec2.describe_route_tables().dry_run(true),
                    "ec2:DescribeSecurityGroups" => ec2.describe_security_groups().dry_run(true),
                    "ec2:DescribeVpcs" => ec2.describe_vpcs().dry_run(true),
                    "ec2:AllocateAddress" => ec2.allocate_address().dry_run(true)
                        .tag_specifications(tags(ResourceType::ElasticIp)),
                    "ec2:CreateInternetGateway" => ec2.create_internet_gateway().dry_run(true)
                        .tag_specifications(tags(ResourceType::InternetGateway)),
                    "ec2:CreateVpc" => ec2.create_vpc().dry_run(true).cidr_block("10.0.0.0/16")
                        .tag_specifications(tags(ResourceType::Vpc)),
                    "acm:ListCertificates" => self.acm.list_certificates().max_items(1),
                    "ecr:GetAuthorizationToken" => self.ecr.get_authorization_token(),
                    "eks:DescribeCluster" => self.eks.describe_cluster().name("on-demand-infra-doctor"),
                    "elasticloadbalancing:DescribeLoadBalancers" => self.elb.describe_load_balancers().page_size(1),
                    "elasticloadbalancing:DescribeTargetGroups" => self.elb.describe_target_groups().page_size(1),
                    "iam:ListRoles" => self.iam.list_roles().max_items(1),
                    "iam:GetRole" => self.iam.get_role().role_name("doctor-tgt_0-cluster"),
                    "logs:DescribeLogGroups" => self.logs.describe_log_groups().limit(1),
                ));
            }
        }
        let mut rights = Rights { unknown: wanted, ..rights };
        for (action, answer) in join_all(calls).await {
            match answer {
                Err(error) if error.kind == AwsErrorKind::Unauthorized => {
                    rights.unknown.remove(action);
                    rights.missing.insert(action.to_owned());
                }
                Err(error) if error.kind == AwsErrorKind::Credentials => return Err(error),
                // It stays unknown.
                Err(error) if error.kind.is_transient() => (),
                // It was looked for and is not there, or would have been made.
                Ok(()) | Err(_) => drop(rights.unknown.remove(action)),
            }
        }
        Ok(rights)
    }
}

fn is_allowed(result: &EvaluationResult) -> bool {
    let allowed = PolicyEvaluationDecisionType::Allowed;
    result.eval_decision() == &allowed
        || result.resource_specific_results().iter().any(|it| it.eval_resource_decision() == &allowed)
}

/// Whose policies decide for this caller, as IAM's simulation takes it; `None` for the account's own user.
fn policy_source(arn: &str) -> Option<String> {
    let (head, name) = arn.split_once(":assumed-role/").unwrap_or((arn, ""));
    match name.split('/').next() {
        // Only the name of the role is known: a path that it may have is not.
        Some(role) if !role.is_empty() => Some(format!("{}:role/{role}", head.replace(":sts:", ":iam:"))),
        _ if arn.ends_with(":root") => None,
        _ => Some(arn.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_of_a_session_are_those_of_its_role() {
        let session = "arn:aws:sts::111122223333:assumed-role/deployer/i-0123";

        assert_eq!(policy_source(session).as_deref(), Some("arn:aws:iam::111122223333:role/deployer"));
        assert_eq!(policy_source("arn:aws:iam::111122223333:root"), None);
        let user = "arn:aws:iam::111122223333:user/team/it";
        assert_eq!(policy_source(user).as_deref(), Some(user));
    }
}
