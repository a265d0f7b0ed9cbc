//! Makes sure that the EC2 instance is there and runs.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::check_account::{CheckAccount, Checked};
use super::destroy_instance::{destroy, remove_tagged};
use super::{StepAction, StepContext, StepError};
use crate::cloud::aws::instance::Described;
use crate::cloud::aws::leftover::{Kind, Resource};
use crate::cloud::aws::{Aws, OPERATION_TAG, TARGET_TAG};
use crate::event::Failure;
use crate::id::{KeyPairName, Region};
use crate::store::record::{Instance, Target};
use crate::tool::connection::Connection;
use crate::tool::terraform::{Terraform, Workspace, module};

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

/// The instance runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Provisioned {
    /// The instance.
    pub instance: Instance,
    /// True when this operation made it.
    pub made: bool,
    /// True when it stays although the operation fails.
    pub kept: bool,
    /// True when no other deployment runs on it.
    pub alone: bool,
}

/// What the module puts out.
#[derive(Debug, Deserialize)]
struct Outputs {
    instance_id: String,
}

/// What has become of an instance on record.
pub(super) enum Fate {
    Runs(Box<Instance>),
    Gone,
}

impl StepAction for ProvisionInstance {
    const NAME: &'static str = "provision_instance";
    type Output = Provisioned;

    fn title(&self) -> String {
        format!("Prepare the EC2 instance in {}", self.region)
    }

    fn weight(&self) -> u32 {
        25
    }

    fn summary(&self, output: &Provisioned) -> String {
        let Instance { id, public_ip, .. } = &output.instance;
        if output.made { format!("`{id}` runs at {public_ip}") } else { format!("`{id}` is there, at {public_ip}") }
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<Provisioned>, StepError> {
        let Some(target) = cx.store.target(cx.target.id).await? else { return Ok(None) };
        if target.locked_by.is_some() {
            return Ok(None);
        }
        let Some(instance) = &target.instance else { return Ok(None) };
        match fate(cx, &cx.aws(&self.region).await?, instance).await? {
            Fate::Runs(instance) => Ok(Some(self.found(cx, &target, *instance).await?)),
            Fate::Gone => Ok(None),
        }
    }

    async fn run(&self, cx: &StepContext) -> Result<Provisioned, StepError> {
        cx.lock_target().await?;
        let result = self.provide(cx).await;
        if result.is_ok() {
            cx.store.unlock_target(cx.target.id, cx.operation).await?;
        }
        result
    }

    async fn undo(&self, cx: &StepContext, left: Option<Provisioned>) -> Result<Vec<String>, StepError> {
        let made = match &left {
            Some(provisioned) => provisioned.made,
            // What this operation did not begin to make is not touched.
            None => match cx.store.target(cx.target.id).await? {
                Some(target) => has_begun(cx, &target).await?,
                None => false,
            },
        };
        let used = cx.is_target_shared().await?;
        let mut removed = Vec::new();
        match (made, left) {
            (true, Some(provisioned)) if self.keep => cx.lines.warning(format!(
                "The EC2 instance `{}` stays, as `keep_target` asks, and costs money until it is decommissioned.",
                provisioned.instance.id
            )),
            (true, _) if !used => {
                cx.lock_target().await?;
                removed = destroy(cx, &self.region).await?;
            }
            (true | false, _) => (),
        }
        cx.store.unlock_target(cx.target.id, cx.operation).await?;
        Ok(removed)
    }
}

impl ProvisionInstance {
    /// An instance that is there already.
    async fn found(&self, cx: &StepContext, target: &Target, instance: Instance) -> Result<Provisioned, StepError> {
        let made = has_begun(cx, target).await?;
        Ok(Provisioned { instance, made, kept: self.keep || !made, alone: is_alone(cx).await? })
    }

    async fn provide(&self, cx: &StepContext) -> Result<Provisioned, StepError> {
        let aws = cx.aws(&self.region).await?;
        let target = cx.store.target(cx.target.id).await?;
        if let Some(target) = &target
            && let Some(instance) = &target.instance
            && let Fate::Runs(instance) = fate(cx, &aws, instance).await?
        {
            return self.found(cx, target, *instance).await;
        }
        let instance = self.make(cx, &aws, target.as_ref()).await?;
        cx.store.set_target_instance(cx.target.id, Some(&instance)).await?;
        Ok(Provisioned { instance, made: true, kept: self.keep, alone: is_alone(cx).await? })
    }

    async fn make(&self, cx: &StepContext, aws: &Aws, target: Option<&Target>) -> Result<Instance, StepError> {
        let checked = cx.output::<CheckAccount>()?;
        if target.is_none_or(|it| !it.made_here) {
            self.refuse_namesake(cx, aws).await?;
        }
        // On record first: whoever finds the instance after a crash knows whose it is.
        cx.store.set_target_made_here(cx.target.id, true).await?;
        let terraform = Terraform::new(&cx.settings);
        let workspace = cx.workspace(module::CLOUD_LOCAL, &terraform, aws).await?;
        let mut subnets = checked.subnets.clone();
        if let Some(used) = workspace.variable("subnet_id") {
            // What was begun in one subnet is not made again in another.
            subnets.sort_by_key(|it| *it != used);
        }
        let mut rest = subnets.iter();
        let first = self.variables(cx, &checked, rest.next());
        workspace.prepare(&first).await?;
        remove_strays(cx, aws, &workspace).await?;
        loop {
            workspace.plan().await?;
            match (workspace.apply().await, rest.next()) {
                (Err(error), Some(next)) if error.is_no_capacity() => {
                    cx.lines.progress(format!("{error}; trying another zone"));
                    workspace.set_variables(&self.variables(cx, &checked, Some(next)))?;
                }
                (result, _) => {
                    result?;
                    break;
                }
            }
        }
        let outputs: Outputs = workspace.outputs().await?;
        let found = aws.instance(&outputs.instance_id).await?.ok_or_else(|| gone(&outputs.instance_id))?;
        // Often the console is still empty: then the first contact pins the key.
        let host_keys = aws.host_keys(&found.id).await.unwrap_or_default();
        instance(cx, found, host_keys, &checked, &self.region, &self.key_pair)
    }

    /// A Name tag is how people name an instance: a second one of that name would be mistaken for it.
    async fn refuse_namesake(&self, cx: &StepContext, aws: &Aws) -> Result<(), StepError> {
        let ours = cx.target.id.to_string();
        let namesake =
            aws.instances_named(&cx.target.name).await?.into_iter().find(|it| it.target.as_ref() != Some(&ours));
        let Some(namesake) = namesake else { return Ok(()) };
        Err(StepError::Permanent(Failure {
            code: "instance_name_in_use".into(),
            message: format!("there is another EC2 instance with the name `{}`: `{}`", cx.target.name, namesake.id),
            next_step: "Send another `instance_id`, or leave it out".into(),
            output: Vec::new(),
        }))
    }

    fn variables(&self, cx: &StepContext, checked: &Checked, subnet: Option<&String>) -> serde_json::Value {
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

/// Whether an earlier attempt or server of this operation began to make something. The lock does not tell: it may have
/// been given back by one whose success did not get on record any more.
async fn has_begun(cx: &StepContext, target: &Target) -> Result<bool, StepError> {
    Ok(target.made_here && Connection::Local.was_started(&cx.calls_folder(), "terraform-init").await?)
}

async fn is_alone(cx: &StepContext) -> Result<bool, StepError> {
    Ok(!cx.is_target_shared().await?)
}

/// Removes what carries the target's tag and is not in the state: made by a call that died before it wrote that down.
async fn remove_strays(cx: &StepContext, aws: &Aws, workspace: &Workspace<'_>) -> Result<(), StepError> {
    let known = workspace.resource_ids().await?;
    let is_stray = |it: &Resource| matches!(it.kind, Kind::Instance | Kind::SecurityGroup) && !known.contains(&it.id);
    let strays: Vec<Resource> = aws.tagged(cx.target.id).await?.into_iter().filter(is_stray).collect();
    if !strays.is_empty() {
        cx.lines.progress("removing what an interrupted call left");
        remove_tagged(aws, &strays, cx).await?;
    }
    Ok(())
}

/// Looks what has become of an instance on record; one with a new address is kept on record with it.
pub(super) async fn fate(cx: &StepContext, aws: &Aws, known: &Instance) -> Result<Fate, StepError> {
    let Some(found) = aws.instance(&known.id).await? else { return Ok(Fate::Gone) };
    let id = &known.id;
    let failure = |code: &str, message: String, next_step: String| Failure {
        code: code.into(),
        message,
        next_step,
        output: Vec::new(),
    };
    match found.state.as_str() {
        "running" => (),
        "pending" => {
            return Err(StepError::Transient(failure(
                "instance_starting",
                format!("the EC2 instance `{id}` is starting"),
                "Try again in a minute".into(),
            )));
        }
        state => {
            let message = format!("the EC2 instance `{id}` is {state}");
            let next = format!(
                "Start it with `aws ec2 start-instances --region {} --instance-ids {id}`, then try again",
                known.region
            );
            return Err(StepError::Permanent(failure("instance_stopped", message, next)));
        }
    }
    let Some(public_ip) = found.public_ip else { return Err(no_address(id)) };
    if public_ip == known.public_ip {
        return Ok(Fate::Runs(Box::new(known.clone())));
    }
    cx.lines.warning(format!(
        "The EC2 instance `{id}` has another public address than before: {public_ip}, it was {}. Was it stopped and started?",
        known.public_ip
    ));
    let instance = Instance { public_ip, ..known.clone() };
    cx.store.set_target_instance(cx.target.id, Some(&instance)).await?;
    Ok(Fate::Runs(Box::new(instance)))
}

fn instance(
    cx: &StepContext,
    found: Described,
    host_keys: Vec<String>,
    checked: &Checked,
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
        host_keys,
    })
}

fn no_address(id: &str) -> StepError {
    StepError::Permanent(Failure {
        code: "instance_without_address".into(),
        message: format!("the EC2 instance `{id}` has no public address"),
        next_step: "Is its subnet a public one? Set `EC2_SUBNET_ID` to one that is".into(),
        output: Vec::new(),
    })
}

/// The target has no instance, or has none any more.
pub(super) fn unrecorded(target: &Target) -> StepError {
    StepError::Permanent(Failure {
        code: "instance_gone".into(),
        message: format!("there is no EC2 instance on record for `{}`", target.name),
        next_step: "Send `deploy` to have it on a new one".into(),
        output: Vec::new(),
    })
}

pub(super) fn gone(id: &str) -> StepError {
    StepError::Permanent(Failure {
        code: "instance_gone".into(),
        message: format!("the EC2 instance `{id}` is gone: somebody terminated it"),
        next_step: "Send `deploy` to have it on a new one, or `decommission` to remove what is left of it".into(),
        output: Vec::new(),
    })
}
