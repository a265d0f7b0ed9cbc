//! Makes sure that the EC2 instance is there and runs.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::action::StepAction;
use super::check_account::{AccountChecked, CheckAccount};
use super::cloud_target::{CloudTarget, Provisioned, instance_terminated};
use super::context::StepContext;
use super::destroy_instance::destroy;
use super::error::StepError;
use super::host_keys;
use super::provision::{self, Provision};
use crate::cloud::aws::instance::DescribedInstance;
use crate::cloud::aws::{Aws, OPERATION_TAG, TARGET_TAG};
use crate::event::Failure;
use crate::id::{KeyPairName, Region};
use crate::store::record::{Deployment, Instance, Target};
use crate::tool::terraform::{Terraform, module};

/// Makes sure that the EC2 instance is there and runs. Deployments that arrive together make one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProvisionInstance {
    /// Where.
    pub region: Region,
    /// The key pair that logs in.
    pub key_pair: KeyPairName,
    /// Keeps an instance that came up when the deploy that it was made for fails.
    pub keep: bool,
}

/// What the module puts out.
#[derive(Debug, Deserialize)]
struct Outputs {
    instance_id: String,
}

impl StepAction for ProvisionInstance {
    const NAME: &'static str = Instance::PROVISIONED_BY;
    type Output = Provisioned<Instance>;

    fn title(&self) -> String {
        format!("Prepare the EC2 instance in {}", self.region)
    }

    fn weight(&self) -> u32 {
        25
    }

    fn summary(&self, output: &Self::Output) -> String {
        let Instance { id, public_ip, .. } = &output.found.instance;
        if output.made { format!("`{id}` runs at {public_ip}") } else { format!("`{id}` is there, at {public_ip}") }
    }

    fn record(&self, output: &Self::Output, deployment: &mut Deployment) {
        output.found.record(&mut deployment.facts);
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<Self::Output>, StepError> {
        provision::find(self, cx).await
    }

    async fn run(&self, cx: &StepContext) -> Result<Self::Output, StepError> {
        provision::ensure(self, cx).await
    }
}

impl Provision for ProvisionInstance {
    type Target = Instance;
    const MODULE: &'static str = module::CLOUD_LOCAL;

    fn region(&self) -> &Region {
        &self.region
    }

    fn keep(&self) -> bool {
        self.keep
    }

    async fn refresh(&self, cx: &StepContext, aws: &Aws, known: &Instance) -> Result<Option<Instance>, StepError> {
        refresh(cx, aws, known).await
    }

    async fn make(&self, cx: &StepContext, aws: &Aws, target: &Target) -> Result<(Instance, bool), StepError> {
        if !target.made_here {
            self.check_name_unused(cx, aws).await?;
        }
        let instance = self.create(cx, aws).await?;
        cx.store.set_target_instance(cx.target.id, Some(&instance)).await?;
        Ok((instance, true))
    }

    async fn destroy(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        destroy(cx, &self.region).await
    }
}

impl ProvisionInstance {
    async fn create(&self, cx: &StepContext, aws: &Aws) -> Result<Instance, StepError> {
        let checked = cx.output::<CheckAccount>()?;
        // On record first: whoever finds the instance after a crash knows whose it is.
        cx.store.set_target_made_here(cx.target.id, true).await?;
        let terraform = Terraform::new(&cx.settings);
        let mut workspace = cx.workspace(module::CLOUD_LOCAL, &terraform, aws).await?;
        let mut subnets = checked.subnets.clone();
        if let Some(used) = workspace.variable("subnet_id") {
            // The subnet of an earlier attempt comes first: another value would make Terraform replace the instance
            // that this attempt may already have created.
            subnets.sort_by_key(|it| it != used);
        }
        let mut rest = subnets.iter();
        let first = self.variables(cx, &checked, rest.next());
        cx.prepare(&mut workspace, aws, first).await?;
        cx.remove_orphaned_resources(aws, &workspace).await?;
        loop {
            workspace.plan().await?;
            match (workspace.apply().await, rest.next()) {
                (Err(error), Some(next)) if error.is_no_capacity() => {
                    cx.lines.progress(format!("{error}; trying another zone"));
                    cx.set_variable(&mut workspace, "subnet_id", json!(next)).await?;
                }
                (result, _) => {
                    result?;
                    break;
                }
            }
        }
        let outputs: Outputs = workspace.outputs().await?;
        let found =
            aws.instance(&outputs.instance_id).await?.ok_or_else(|| instance_terminated(&outputs.instance_id))?;
        // Often the console is still empty: then the first contact pins the key, and the console is asked again.
        let host_keys = aws.host_keys(&found.id).await.unwrap_or_default();
        instance(cx, found, host_keys, &checked, &self.region, &self.key_pair)
    }

    /// A Name tag is how people name an instance: a second one of that name would be mistaken for it.
    async fn check_name_unused(&self, cx: &StepContext, aws: &Aws) -> Result<(), StepError> {
        let ours = cx.target.id.to_string();
        let namesake =
            aws.instances_named(&cx.target.name).await?.into_iter().find(|it| it.target.as_ref() != Some(&ours));
        let Some(namesake) = namesake else { return Ok(()) };
        Err(StepError::permanent(
            "instance_name_in_use",
            format!("there is another EC2 instance with the name `{}`: `{}`", cx.target.name, namesake.id),
            "Send another `instance_id`, or another `instance_name` when that is its name",
        ))
    }

    fn variables(&self, cx: &StepContext, checked: &AccountChecked, subnet: Option<&String>) -> serde_json::Value {
        let ports = cx.settings.kind.node_port_range;
        json!({
            "region": self.region,
            "name": cx.target.name,
            "tags": { TARGET_TAG: cx.target.id, OPERATION_TAG: cx.operation },
            "instance_type": cx.settings.ec2.instance_type,
            "ami_id": checked.image,
            "volume_gib": cx.settings.ec2.volume_gib,
            "key_name": self.key_pair,
            "subnet_id": subnet,
            "ssh_cidr": checked.ssh_cidr,
            "node_ports": { "first": ports.first, "last": ports.last },
        })
    }
}

/// An instance on record as it runs now, `None` when it is gone; one with a new address is kept on record with it, and so are
/// host keys that its console tells by now.
pub(super) async fn refresh(cx: &StepContext, aws: &Aws, known: &Instance) -> Result<Option<Instance>, StepError> {
    let Some(found) = aws.instance(&known.id).await? else { return Ok(None) };
    let id = &known.id;
    match found.state.as_str() {
        "running" => (),
        "pending" => {
            return Err(StepError::Settling(Failure {
                code: "instance_starting".into(),
                message: format!("the EC2 instance `{id}` is starting"),
                next_step: "Try again in a minute".into(),
                output: Vec::new(),
            }));
        }
        state => {
            let region = &known.region;
            return Err(StepError::permanent(
                "instance_stopped",
                format!("the EC2 instance `{id}` is {state}"),
                format!(
                    "Start it with `aws ec2 start-instances --region {region} --instance-ids {id}`, then try again"
                ),
            ));
        }
    }
    let Some(public_ip) = found.public_ip else { return Err(no_address(id)) };
    if public_ip == known.public_ip {
        return Ok(Some(host_keys::confirm(cx, aws, known.clone()).await?));
    }
    cx.lines.warning(format!(
        "The EC2 instance `{id}` has another public address than before: {public_ip}, it was {}. Was it stopped and started?",
        known.public_ip
    ));
    let instance = Instance { public_ip, ..known.clone() };
    cx.store.set_target_instance(cx.target.id, Some(&instance)).await?;
    Ok(Some(host_keys::confirm(cx, aws, instance).await?))
}

fn instance(
    cx: &StepContext,
    found: DescribedInstance,
    host_keys: Vec<String>,
    checked: &AccountChecked,
    region: &Region,
    key_pair: &KeyPairName,
) -> Result<Instance, StepError> {
    let public_ip = found.public_ip.ok_or_else(|| no_address(&found.id))?;
    Ok(Instance {
        id: found.id,
        name: cx.target.name.clone(),
        public_ip,
        user: checked.user.clone(),
        key_pair: key_pair.clone(),
        region: region.clone(),
        zone: found.zone,
        image: found.image,
        account: checked.account.clone(),
        are_host_keys_confirmed: !host_keys.is_empty(),
        host_keys,
    })
}

fn no_address(id: &str) -> StepError {
    StepError::permanent(
        "instance_without_address",
        format!("the EC2 instance `{id}` has no public address"),
        "Is its subnet a public one? Set `EC2_SUBNET_ID` to one that is",
    )
}
