//! What people and things are called on pages.

use crate::access::Caller;
use crate::app::App;
use crate::store::record::Deployment;
use crate::store::unreadable::UnreadableDeployment;

/// Who a principal is: the name of a key, or what else is known. Whoever is no administrator is told only what is their own.
pub(super) fn who(app: &App, caller: &Caller, principal: &str) -> Option<String> {
    if !caller.is_admin() {
        return (caller.principal == principal).then(|| "you".to_owned());
    }
    if let Some(name) = app.keys().name_of(principal) {
        return Some(name.to_string());
    }
    let known = ["address:", "oidc:"].into_iter().find_map(|it| principal.strip_prefix(it));
    Some(known.unwrap_or(principal).to_owned())
}

/// The name of a deployment.
pub(super) fn deployment_name(deployment: &Result<Deployment, UnreadableDeployment>) -> String {
    deployment.as_ref().map_or_else(|it| it.name.clone(), |it| it.name.to_string())
}
