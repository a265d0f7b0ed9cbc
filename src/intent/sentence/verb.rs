//! The verbs of commands, as one table: the first that fits counts, so longer and split ones stand first.

use crate::id::Action;

use super::vocabulary::REPLICAS;

/// A verb, and the action that it stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verb {
    pub words: &'static str,
    /// A word that must follow in the same clause ("take web *down*").
    pub particle: Option<&'static [&'static str]>,
    pub action: Action,
    /// It only counts when a repository is named, or `it` stands for one.
    pub needs_object: bool,
}

const fn verb(words: &'static str, action: Action) -> Verb {
    Verb { words, particle: None, action, needs_object: false }
}

const fn weak(words: &'static str, action: Action) -> Verb {
    Verb { words, particle: None, action, needs_object: true }
}

const fn split(words: &'static str, particle: &'static [&'static str], action: Action) -> Verb {
    Verb { words, particle: Some(particle), action, needs_object: false }
}

const DOWN: &[&str] = &["down"];
const BACK: &[&str] = &["back"];
const PODS: &[&str] = &["pod", "pods"];
const LAST_CHANGE: &[&str] = &["change", "changes", "that", "this"];
const AGAIN: &[&str] = &["again", "latest", "newest"];

pub(super) const VERBS: &[Verb] = &[
    split("i need", REPLICAS, Action::Scale),
    split("we need", REPLICAS, Action::Scale),
    verb("redeploy", Action::Redeploy),
    verb("re-deploy", Action::Redeploy),
    verb("update", Action::Redeploy),
    verb("upgrade", Action::Redeploy),
    verb("rebuild", Action::Redeploy),
    verb("refresh", Action::Redeploy),
    verb("roll out", Action::Redeploy),
    split("deploy", AGAIN, Action::Redeploy),
    split("run", AGAIN, Action::Redeploy),
    verb("deploy", Action::Deploy),
    split("run", REPLICAS, Action::Scale),
    split("set", REPLICAS, Action::Scale),
    split("make", REPLICAS, Action::Scale),
    split("give", REPLICAS, Action::Scale),
    split("use", REPLICAS, Action::Scale),
    split("change", REPLICAS, Action::Scale),
    split("increase", REPLICAS, Action::Scale),
    split("decrease", REPLICAS, Action::Scale),
    split("reduce", REPLICAS, Action::Scale),
    weak("run", Action::Deploy),
    weak("launch", Action::Deploy),
    weak("start", Action::Deploy),
    weak("install", Action::Deploy),
    weak("host", Action::Deploy),
    weak("put", Action::Deploy),
    weak("serve", Action::Deploy),
    weak("build", Action::Deploy),
    weak("ship", Action::Deploy),
    weak("publish", Action::Deploy),
    weak("set up", Action::Deploy),
    weak("spin up", Action::Deploy),
    weak("bring up", Action::Deploy),
    weak("stand up", Action::Deploy),
    verb("scale", Action::Scale),
    verb("rescale", Action::Scale),
    verb("resize", Action::Scale),
    verb("restart", Action::Restart),
    verb("re-start", Action::Restart),
    verb("reboot", Action::Restart),
    verb("bounce", Action::Restart),
    verb("recycle", Action::Restart),
    split("roll", PODS, Action::Restart),
    verb("undo", Action::Undo),
    split("revert", LAST_CHANGE, Action::Undo),
    verb("rollback", Action::Rollback),
    split("roll", BACK, Action::Rollback),
    split("go", BACK, Action::Rollback),
    split("switch", BACK, Action::Rollback),
    verb("revert", Action::Rollback),
    split("take", DOWN, Action::Decommission),
    split("take", BACK, Action::Undo),
    split("tear", DOWN, Action::Decommission),
    split("shut", DOWN, Action::Decommission),
    split("bring", DOWN, Action::Decommission),
    verb("get rid of", Action::Decommission),
    verb("decommission", Action::Decommission),
    verb("remove", Action::Decommission),
    verb("delete", Action::Decommission),
    verb("destroy", Action::Decommission),
    verb("uninstall", Action::Decommission),
    verb("undeploy", Action::Decommission),
    verb("teardown", Action::Decommission),
    verb("terminate", Action::Decommission),
    verb("cancel", Action::Cancel),
    verb("abort", Action::Cancel),
    verb("stop that", Action::Cancel),
    verb("stop this", Action::Cancel),
    verb("stop it", Action::Cancel),
    verb("stop deploying", Action::Cancel),
    verb("stop the operation", Action::Cancel),
    verb("never mind", Action::Cancel),
    verb("nevermind", Action::Cancel),
    verb("forget it", Action::Cancel),
    verb("forget that", Action::Cancel),
];

/// Words after which a verb was a noun ("deploy failed", "update is stuck", "deploy logs").
pub(super) const AFTER_NOUN: &[&str] = &[
    "failed", "fails", "failing", "failure", "is", "isn't", "was", "wasn't", "are", "were", "has", "had", "did",
    "does", "doesn't", "didn't", "keeps", "took", "takes", "timed", "stuck", "error", "errors", "status", "log",
    "logs", "script", "hook", "pipeline", "went", "worked", "works", "button", "command", "key", "keys", "output",
];
