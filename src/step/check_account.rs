//! Looks before anything is made whether all that an EC2 instance takes is there, and what it will cost.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::context::StepContext;
use super::error::StepError;
use super::problems::Problems;
use crate::cloud::aws::instance_types;
use crate::cloud::aws::machine_images::MachineImage;
use crate::cloud::aws::permission::InstanceSpec;
use crate::cloud::aws::quota::STANDARD_VCPUS;
use crate::cloud::aws::{Aws, AwsErrorKind};
use crate::id::{KeyPairName, Region};
use crate::secret::private_key::private_key;
use crate::store::record::{Cost, Deployment, Instance};

/// How long the service that tells our address may take.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(10);
/// Less memory than this is not enough for a cluster.
const MIN_MEMORY_MIB: i64 = 2000;

/// Looks before anything is made whether all that an EC2 instance takes is there. All problems come in one answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckAccount {
    /// Where.
    pub region: Region,
    /// The key pair that logs in.
    pub key_pair: KeyPairName,
}

/// All is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountChecked {
    /// Number of the account.
    pub account: String,
    /// Whose credentials these are.
    pub identity: String,
    /// Machine image for a new instance.
    pub image: Option<String>,
    /// Who logs in.
    pub user: String,
    /// Subnets for a new instance, to be tried in this order.
    pub subnets: Vec<String>,
    /// From where ssh is accepted.
    pub ssh_cidr: Option<String>,
    /// What a new instance will cost, where that is known.
    pub cost: Option<Cost>,
}

impl StepAction for CheckAccount {
    const NAME: &'static str = "check_account";
    type Output = AccountChecked;

    fn title(&self) -> String {
        format!("Check the AWS account in {}", self.region)
    }

    fn summary(&self, output: &AccountChecked) -> String {
        let cost = output.cost.as_ref().map(|cost| format!("; {cost}")).unwrap_or_default();
        format!("account {} as {}{cost}", output.account, output.identity)
    }

    fn record(&self, output: &AccountChecked, deployment: &mut Deployment) {
        deployment.facts.cost = output.cost.as_ref().map(ToString::to_string);
        deployment.facts.price.clone_from(&output.cost);
    }

    async fn run(&self, cx: &StepContext) -> Result<AccountChecked, StepError> {
        cx.lines.progress("asking AWS what is there");
        let aws = cx.aws(&self.region).await?;
        let mut problems = Problems::default();
        if let Err(error) = private_key(cx.settings.ssh.private_key_base_path.as_deref(), &self.key_pair) {
            problems.add("private_key_unusable", error.to_string(), "Put the private key there, with mode 600");
        }
        let identity = match aws.caller_identity().await {
            Ok(identity) => Some(identity),
            Err(error) => problems.add_error(error)?,
        };
        let there = cx.store.target(cx.target.id).await?.and_then(|it| it.instance);
        let mut checked = AccountChecked {
            account: identity.as_ref().map(|it| it.account.clone()).unwrap_or_default(),
            identity: identity.as_ref().map(|it| it.arn.clone()).unwrap_or_default(),
            image: None,
            user: cx.settings.ec2.ssh_user.clone().unwrap_or_default(),
            subnets: Vec::new(),
            ssh_cidr: None,
            cost: None,
        };
        let is_new = there.is_none();
        if let Some(instance) = there {
            self.check_existing_instance(&instance, &checked, &mut problems);
            checked.user = instance.user;
        }
        // What is there may be gone by now: then a new one is made, so all of it is looked at every time.
        match ssh_cidr(cx).await {
            Ok(cidr) => checked.ssh_cidr = Some(cidr.to_string()),
            Err(text) => problems.add(
                "ssh_source_unknown",
                text,
                "Set `SSH_ALLOWED_CIDR` to the range of addresses that this server is seen under",
            ),
        }
        if identity.is_some() {
            let ec2 = &cx.settings.ec2;
            let (looked, cost) = tokio::join!(
                Box::pin(self.check_region(cx, &aws, is_new, &mut checked, &mut problems)),
                Box::pin(cx.prices.instance(Some(&aws), &self.region, &ec2.instance_type, ec2.volume_gib)),
            );
            looked?;
            checked.cost = cost;
        }
        problems.into_result().map(|()| checked)
    }
}

impl CheckAccount {
    /// An instance that is there already must be of this account and key pair.
    fn check_existing_instance(&self, instance: &Instance, checked: &AccountChecked, problems: &mut Problems) {
        if !checked.account.is_empty() && checked.account != instance.account {
            problems.add(
                "aws_other_account",
                format!(
                    "the instance `{}` belongs to the account {}, and the credentials to {}",
                    instance.name, instance.account, checked.account
                ),
                "Send the credentials of that account, or another `instance_id` for a new instance",
            );
        }
        if self.key_pair != instance.key_pair {
            problems.add(
                "key_pair_differs",
                format!(
                    "the instance `{}` was made with the key pair `{}`, not `{}`",
                    instance.name, instance.key_pair, self.key_pair
                ),
                "Send that key pair as `ec2_key_name`, or another `instance_id` for a new instance",
            );
        }
    }

    async fn check_region(
        &self,
        cx: &StepContext,
        aws: &Aws,
        is_new: bool,
        checked: &mut AccountChecked,
        problems: &mut Problems,
    ) -> Result<(), StepError> {
        let ec2 = &cx.settings.ec2;
        let region = &self.region;
        if problems.collect(aws.has_region().await)? == Some(false) {
            problems.add(
                "aws_region_unavailable",
                format!("this account cannot use the region `{region}`"),
                "Correct `aws_region`, or enable the region for the account",
            );
            return Ok(());
        }
        let (key_pair, instance_type, zones, subnets, vcpus_left) = tokio::join!(
            aws.has_key_pair(self.key_pair.as_str()),
            aws.instance_type(&ec2.instance_type),
            aws.zones_offering(&ec2.instance_type),
            aws.subnets(ec2.subnet_id.as_deref()),
            async { if is_new { aws.vcpus_left(&ec2.instance_type).await } else { None } },
        );
        if problems.collect(key_pair)? == Some(false) {
            problems.add(
                "key_pair_missing",
                format!("there is no key pair `{}` in {region}", self.key_pair),
                "Create or import it there, or correct `ec2_key_name`",
            );
        }
        let instance_type = problems.collect(instance_type)?;
        let memory_mib = instance_type.as_ref().and_then(Option::as_ref).map(|it| it.memory_mib);
        if let Some(memory_mib) = memory_mib.filter(|&it| it > 0 && it < MIN_MEMORY_MIB) {
            cx.lines.warning(format!(
                "`{}` has {memory_mib} MiB of memory, which is little for a cluster.",
                ec2.instance_type
            ));
        }
        let vcpus = instance_type.as_ref().and_then(Option::as_ref).map_or(0, |it| it.vcpus);
        if let Some(left) = vcpus_left.filter(|&left| left < vcpus) {
            problems.add(
                AwsErrorKind::Quota.code(),
                format!(
                    "a `{}` takes {vcpus} vCPUs, and the account's quota in {region} leaves {left}",
                    ec2.instance_type
                ),
                &format!(
                    "Ask for more with the quota `{STANDARD_VCPUS}` in the Service Quotas console, or end instances"
                ),
            );
        }
        let zones = problems.collect(zones)?;
        if instance_type == Some(None) || zones.as_ref().is_some_and(Vec::is_empty) {
            problems.add(
                "instance_type_not_offered",
                format!("the type `{}` is not offered in {region}", ec2.instance_type),
                "Set `EC2_INSTANCE_TYPE` to a type that is",
            );
        }
        let image = self
            .image(cx, aws, instance_types::architecture(instance_type.as_ref().and_then(Option::as_ref)), problems)
            .await?;
        if let Some(subnets) = problems.collect(subnets)? {
            let offered = |zone: &String| zones.as_ref().is_none_or(|zones| zones.is_empty() || zones.contains(zone));
            checked.subnets = subnets.iter().filter(|it| offered(&it.zone)).map(|it| it.id.clone()).collect();
            if checked.subnets.is_empty() {
                problems.add(
                    "subnet_missing",
                    match (&ec2.subnet_id, subnets.first()) {
                        (Some(id), None) => format!("there is no subnet `{id}` in {region}"),
                        (None, None) => format!("there is no default VPC with subnets in {region}"),
                        (_, Some(subnet)) => {
                            format!("the type `{}` is not offered in {}", ec2.instance_type, subnet.zone)
                        }
                    },
                    "Set `EC2_SUBNET_ID` to a public subnet of this region",
                );
            }
        }
        if let (Some(image), Some(subnet)) = (&image, checked.subnets.first()) {
            let wanted = InstanceSpec { instance_type: &ec2.instance_type, image: &image.id, subnet };
            for error in problems.collect(aws.denied_calls(wanted).await)?.unwrap_or_default() {
                problems.add_error::<()>(error)?;
            }
        }
        if let Some(image) = image {
            if checked.user.is_empty() {
                image.user().clone_into(&mut checked.user);
            }
            checked.image = Some(image.id);
        }
        Ok(())
    }

    async fn image(
        &self,
        cx: &StepContext,
        aws: &Aws,
        architecture: &str,
        problems: &mut Problems,
    ) -> Result<Option<MachineImage>, StepError> {
        let ec2 = &cx.settings.ec2;
        let (found, wanted) = match &ec2.image_id {
            Some(id) => (aws.machine_image(id).await, format!("`{id}`")),
            None => (
                aws.newest_machine_image(&ec2.image_owner, &ec2.image_name, architecture).await,
                format!("`{}` of `{}` for {architecture}", ec2.image_name, ec2.image_owner),
            ),
        };
        match problems.collect(found)? {
            Some(Some(image)) if image.architecture != architecture => {
                problems.add(
                    "image_does_not_fit",
                    format!(
                        "the machine image `{}` is for {}, and `{}` is {architecture}",
                        image.id, image.architecture, ec2.instance_type
                    ),
                    "Set `EC2_AMI_ID` or `EC2_INSTANCE_TYPE` so that they fit",
                );
                Ok(None)
            }
            Some(None) => {
                problems.add(
                    "image_missing",
                    format!("there is no machine image {wanted} in {}", self.region),
                    "Correct `EC2_AMI_ID`, or `EC2_AMI_OWNER` and `EC2_AMI_NAME`",
                );
                Ok(None)
            }
            found => Ok(found.flatten()),
        }
    }
}

/// From where ssh is accepted: the setting, else the address that this server is seen under.
async fn ssh_cidr(cx: &StepContext) -> Result<Ipv4Net, String> {
    if let Some(cidr) = cx.settings.ec2.ssh_allowed_cidr {
        return Ok(cidr);
    }
    let url = &cx.settings.ec2.public_ip_url;
    let failed = |why: String| format!("it is not known from where ssh should be accepted: {url} {why}");
    let asked = async {
        let client = reqwest::Client::builder().timeout(ADDRESS_TIMEOUT).build()?;
        client.get(url.clone()).send().await?.error_for_status()?.text().await
    };
    let text = asked.await.map_err(|error| failed(format!("does not tell it ({error})")))?;
    let address: Ipv4Addr =
        text.trim().parse().map_err(|_| failed("answers with something else than an IPv4 address".into()))?;
    Ok(Ipv4Net::from(address))
}
