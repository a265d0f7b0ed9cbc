//! What a yes to a plan is for, where its steps do not tell: how much of what, and what goes with it. Values of variables
//! are secrets; only their names are told.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::preview::Preview;
use super::removal::what_goes_too;
use crate::event::minute;
use crate::id::Mode;
use crate::intent::{Decommission, Intent, Request};
use crate::plan::Plan;
use crate::reply::view::PlanFact;
use crate::step::analyse_repository::AnalyseRepository;
use crate::step::apply_application::ApplyApplication;
use crate::step::build_image::BuildImage;
use crate::step::clone_repository::CloneRepository;
use crate::step::delete_cluster::DeleteCluster;
use crate::step::provision_instance::ProvisionInstance;
use crate::step::scale_application::ScaleApplication;
use crate::store::record::{Deployment, Target, Version};
use crate::tool::git::Resolved;

/// What a plan is for, of a deployment and a target as they are before it.
pub(super) fn of(
    request: &Request,
    plan: &Plan,
    deployment: &Deployment,
    target: &Target,
    shares_target: bool,
    preview: &Preview,
) -> Vec<PlanFact> {
    let (clone, analyse) = (plan.parameters::<CloneRepository>(), plan.parameters::<AnalyseRepository>());
    let (build, apply) = (plan.parameters::<BuildImage>(), plan.parameters::<ApplyApplication>());
    let (analyse, apply) = (analyse.as_ref(), apply.as_ref());
    let options = analyse.map(|it| &it.build);
    let deploy = request.intent.deploy();
    let removal = if let Intent::Decommission(it) = &request.intent { Some(it) } else { None };
    let told = [
        ("github_repo_url", clone.as_ref().map(|it| it.repository.to_string())),
        ("git_ref", clone.as_ref().map(|it| it.git_ref.as_ref().map_or("the default branch".to_owned(), text))),
        ("Commit", preview.resolved.as_ref().map(commit)),
        ("rollback_to", apply.and_then(|it| it.version.as_ref()).map(|it| earlier(it, deployment))),
        ("source_directory", analyse.and_then(|it| it.directory.as_ref()).map(text)),
        ("dockerfile_path", analyse.and_then(|it| it.dockerfile.as_ref()).map(text)),
        ("build_target", options.and_then(|it| it.target.as_ref()).map(text)),
        ("build_platform", options.and_then(|it| it.platform.as_ref()).map(text)),
        ("build_args", options.map(|it| &it.args).filter(|it| !it.is_empty()).map(|it| listed(it.keys()))),
        ("build_secrets", options.map(|it| &it.secrets).filter(|it| !it.is_empty()).map(listed)),
        ("scale_replicas", replicas(plan, apply, deployment)),
        ("container_port", port(request, build.as_ref(), apply, preview)),
        ("environment", apply.map(|it| environment(request, it, deployment))),
        ("stop_grace_s", apply.and_then(|it| it.stop_grace_s).map(|it| it.to_string())),
        ("ec2_key_name", plan.parameters::<ProvisionInstance>().map(|it| it.key_pair.to_string())),
        ("aws_credentials.aws_region", target.region.as_ref().map(text)),
        ("base_hosted_zone_id", deploy.and_then(|it| it.domain.as_ref()).map(|it| it.zone.to_string())),
        ("app_subdomain_label", deploy.and_then(|it| it.domain.as_ref()).map(|it| it.label.to_string())),
        ("keep_target", deploy.filter(|it| it.keep_target).map(|_| "yes, also when it fails".to_owned())),
        ("Goes with it", removal.map(|it| goes_too(it, plan, target, shares_target))),
        ("Costs", costs_nothing(deployment.mode, removal.is_some())),
    ];
    told.into_iter().filter_map(|(name, value)| Some(PlanFact { name, value: value? })).collect()
}

/// Which commit is built. A branch may have gone on until then.
fn commit(resolved: &Resolved) -> String {
    let newest = if resolved.branch.is_some() { ", the newest now" } else { "" };
    format!("{}{newest}", resolved.commit.short())
}

/// A version that is gone back to, and the one that runs.
fn earlier(version: &Version, deployment: &Deployment) -> String {
    let Version { revision, commit, deployed_at, .. } = version;
    let runs = deployment.facts.version.as_ref().map(|it| format!("; {} runs now", it.revision)).unwrap_or_default();
    format!("{revision}, commit {}, of {}{runs}", commit.short(), minute(*deployed_at))
}

/// How many replicas there are to be, and how many there are.
fn replicas(plan: &Plan, apply: Option<&ApplyApplication>, deployment: &Deployment) -> Option<String> {
    let scaled = plan.parameters::<ScaleApplication>().map(|it| it.replicas);
    let after = scaled.or_else(|| apply.map(|it| it.replicas))?;
    let before = deployment.facts.replicas.filter(|_| deployment.facts.version.is_some());
    Some(match before {
        Some(before) if before == after => format!("{after}, as now"),
        Some(before) => format!("from {before} to {after}"),
        None => after.to_string(),
    })
}

/// The port that the application is asked at, in the order in which the build looks for it.
fn port(
    request: &Request,
    build: Option<&BuildImage>,
    apply: Option<&ApplyApplication>,
    preview: &Preview,
) -> Option<String> {
    if let Some(version) = apply.and_then(|it| it.version.as_ref()) {
        return Some(version.main_port.to_string());
    }
    let build = build?;
    let is_variable = request.secrets.environment.iter().flatten().any(|(name, _)| name.as_str() == "PORT");
    let known = build.known_port.map(|it| it.port).or(preview.port);
    Some(match build.container_port.or(known.filter(|_| !is_variable)) {
        Some(port) => port.to_string(),
        None if is_variable => "as the variable PORT says".to_owned(),
        None => "as the image says, once it is built".to_owned(),
    })
}

/// The names of the variables that the application gets, and what becomes of those that it has.
fn environment(request: &Request, apply: &ApplyApplication, deployment: &Deployment) -> String {
    let version = deployment.facts.version.as_ref();
    let before = version.map(|it| it.environment_names.as_slice()).unwrap_or_default();
    if let Some(version) = &apply.version {
        return format!("those of its version: {}", listed(&version.environment_names));
    }
    match &request.secrets.environment {
        Some(given) => replaced(given.keys(), before),
        None if before.is_empty() => listed(before),
        None => format!("as now: {}", listed(before)),
    }
}

/// The names that are given in place of those before; the same ones are said once.
fn replaced<T: Display, U: Display>(given: impl IntoIterator<Item = T>, before: impl IntoIterator<Item = U>) -> String {
    let given: BTreeSet<String> = given.into_iter().map(|it| it.to_string()).collect();
    let before: BTreeSet<String> = before.into_iter().map(|it| it.to_string()).collect();
    if before.is_empty() {
        listed(given)
    } else if given == before {
        format!("{} (new values)", listed(given))
    } else {
        format!("{}, in place of {}", listed(given), listed(before))
    }
}

/// What a removal takes beside the application, or what stays and why.
fn goes_too(removal: &Decommission, plan: &Plan, target: &Target, shares_target: bool) -> String {
    // Whether a local cluster is used by others is looked at by the step itself, which leaves it then.
    let leaves_cluster = shares_target && plan.parameters::<DeleteCluster>().is_some();
    if let Some(what) = what_goes_too(plan, target).filter(|_| !leaves_cluster) {
        return what;
    }
    let kind = match target.mode {
        Mode::Local | Mode::CloudHosted => "cluster",
        Mode::CloudLocal => "instance",
    };
    let reason = if shares_target {
        ": others are on it"
    } else if removal.keep_target {
        ", as was asked"
    } else if !target.made_here {
        ": this server did not make it"
    } else {
        ""
    };
    format!("nothing; the {kind} `{}` stays{reason}", target.name)
}

/// What is not told by the summary, which has prices of AWS.
fn costs_nothing(mode: Mode, is_removal: bool) -> Option<String> {
    match mode {
        Mode::Local if !is_removal => Some("nothing: it runs on the machine of this server".to_owned()),
        Mode::Local | Mode::CloudLocal | Mode::CloudHosted => None,
    }
}

fn text(value: &impl Display) -> String {
    value.to_string()
}

fn listed<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|it| it.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_in_a_row() {
        assert_eq!([listed(["A", "B"]), listed([0; 0])], ["A, B", "none"]);
    }

    #[test]
    fn names_that_stay_are_not_said_to_be_in_place_of_themselves() {
        assert_eq!(replaced(["A", "B"], [""; 0]), "A, B");
        assert_eq!(replaced(["A", "B"], ["B", "A"]), "A, B (new values)");
        assert_eq!(replaced(["A"], ["A", "B"]), "A, in place of A, B");
        assert_eq!(replaced([""; 0], ["A"]), "none, in place of A");
    }
}
