//! The host keys of an EC2 instance. Its console tells them, but minutes late: until then those that the first contact has
//! shown are pinned, and they are compared with the console as soon as it does.

use super::context::{KNOWN_HOSTS, StepContext};
use super::error::StepError;
use crate::cloud::aws::Aws;
use crate::store::record::Instance;
use crate::tool::ssh::pinned_host_keys;

/// The instance, with its host keys confirmed when its console tells them by now; then that is on record.
///
/// # Errors
/// A permanent failure when the console tells others than those that are pinned.
pub(super) async fn confirm(cx: &StepContext, aws: &Aws, instance: Instance) -> Result<Instance, StepError> {
    if instance.are_host_keys_confirmed {
        return Ok(instance);
    }
    let told = match aws.host_keys(&instance.id).await {
        Ok(told) => told,
        Err(error) => {
            cx.lines.output(format!("the console of `{}` cannot be read: {error}", instance.id));
            Vec::new()
        }
    };
    if told.is_empty() {
        return Ok(instance);
    }
    // What ssh goes by is the file; the record is for a workspace that has none.
    let in_file = pinned_host_keys(&cx.target_folder().join(KNOWN_HOSTS), &instance.id).await;
    let pinned = if in_file.is_empty() { &instance.host_keys } else { &in_file };
    let host_keys =
        if pinned.is_empty() { told } else { pinned.iter().filter(|key| told.contains(key)).cloned().collect() };
    if host_keys.is_empty() {
        return Err(mismatch(&instance));
    }
    let instance = Instance { host_keys, are_host_keys_confirmed: true, ..instance };
    cx.store.set_target_instance(cx.target.id, Some(&instance)).await?;
    Ok(instance)
}

/// Another machine has answered.
fn mismatch(instance: &Instance) -> StepError {
    let Instance { id, public_ip, .. } = instance;
    StepError::permanent(
        "host_key_mismatch",
        format!(
            "the machine that answered ssh at {public_ip} is not the EC2 instance `{id}`: it showed a host key that the \
             instance's console does not tell. Somebody between here and AWS may have answered in its place, or the keys of \
             the instance were made anew after it had booted"
        ),
        "Change the secrets that were sent there (environment variables, tokens). Then send `deploy` again for a new \
         instance, after `decommission` when the deployment is still there",
    )
}
