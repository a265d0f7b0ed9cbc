//! Which deployment is meant: the one that fits every given fact.
//!
//! `key_pair` is not a fact about a deployment but about the way to its instance, so it does not select.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::id::{DeploymentId, DeploymentName, Mode, Namespace, RepositoryUrl, SourceDirectory};

use super::{Selector, Source};

/// An existing deployment, reduced to what can select it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its own id.
    pub id: DeploymentId,
    /// Kind of target.
    pub mode: Mode,
    /// Name of the target: cluster or instance.
    pub target_name: String,
    /// Name of the application.
    pub application_name: DeploymentName,
    /// Namespace on the cluster.
    pub namespace: Namespace,
    /// What it was built from.
    pub repository: RepositoryUrl,
    /// The directory of the repository that it is built in; none for the root.
    pub source_directory: Option<SourceDirectory>,
    /// Public address of its EC2 instance.
    pub public_ip: Option<IpAddr>,
}

/// Says why no single deployment is meant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SelectionError {
    /// None fits (404 `deployment_not_found`).
    #[error("no deployment {}; {}", wanted(selector), existing(candidates))]
    NotFound {
        /// The values that were given.
        selector: Box<Selector>,
        /// What exists instead.
        candidates: Vec<Candidate>,
    },
    /// More than one fits (400).
    #[error("{} deployments fit: {}; say which one with {}", fitting.len(), in_words(fitting), ticked(fields))]
    Several {
        /// Each of them.
        fitting: Vec<Candidate>,
        /// The fields whose values differ.
        fields: Vec<&'static str>,
    },
}

/// Finds the one deployment that fits every fact of `selector`.
///
/// # Errors
/// None fits, or several do.
pub fn select<'a>(
    candidates: &'a [Candidate],
    selector: &Selector,
    source: Source,
) -> Result<&'a Candidate, SelectionError> {
    let fitting = matching(candidates, selector, source);
    match fitting.as_slice() {
        [only] => Ok(only),
        [] => {
            let (selector, candidates) = (Box::new(selector.clone()), candidates.to_vec());
            Err(SelectionError::NotFound { selector, candidates })
        }
        several => Err(SelectionError::Several {
            fitting: several.iter().copied().cloned().collect(),
            fields: distinguishing_fields(several),
        }),
    }
}

/// Every deployment that fits all values of `selector`; all of them when it has none. A name that a person said is that
/// of the application if there is one of exactly that name; else it may be the name of something else.
#[must_use]
pub fn matching<'a>(candidates: &'a [Candidate], selector: &Selector, source: Source) -> Vec<&'a Candidate> {
    let fitting: Vec<&Candidate> = candidates.iter().filter(|it| it.fits(selector)).collect();
    let Some(name) = &selector.application_name else { return fitting };
    // An application's own name comes before the name of what others run on.
    let exact: Vec<&Candidate> = fitting.iter().copied().filter(|it| it.application_name == *name).collect();
    if !exact.is_empty() {
        return exact;
    }
    if !fitting.is_empty() || source == Source::Fields {
        return fitting;
    }
    let nameless = Selector { application_name: None, ..selector.clone() };
    let others: Vec<&Candidate> = candidates.iter().filter(|it| it.fits(&nameless)).collect();
    let meant = OTHER_NAMES.iter().map(|other| {
        others.iter().copied().filter(|it| other(it).as_ref() == name.as_str()).collect::<Vec<&Candidate>>()
    });
    meant.into_iter().find(|it| !it.is_empty()).unwrap_or_default()
}

/// What else of a deployment a person may call by its name, the likeliest first.
const OTHER_NAMES: [fn(&Candidate) -> Cow<'_, str>; 3] =
    [|it| it.repository.name().into(), |it| it.target_name.as_str().into(), |it| it.namespace.as_str().into()];

impl Candidate {
    fn fits(&self, selector: &Selector) -> bool {
        let Selector {
            mode,
            target_name,
            namespace,
            application_name,
            repository,
            source_directory,
            public_ip,
            key_pair: _,
        } = selector;
        // In the cloud modes `instance_name` is also the name of the instance or cluster when no `instance_id` is given.
        let names_target = |name: &DeploymentName| {
            self.mode != Mode::Local && target_name.is_none() && self.target_name == name.as_str()
        };
        fits(mode.as_ref(), |it| *it == self.mode)
            && fits(target_name.as_ref(), |it| it.as_str() == self.target_name || it.as_str() == self.id.to_string())
            && fits(namespace.as_ref(), |it| *it == self.namespace)
            && fits(application_name.as_ref(), |it| *it == self.application_name || names_target(it))
            && fits(repository.as_ref(), |it| it.identity() == self.repository.identity())
            && fits(source_directory.as_ref(), |it| it.clone().below_root() == self.source_directory)
            && fits(public_ip.as_ref(), |it| Some(*it) == self.public_ip)
    }

    /// The deployment in words, with all that tells it from others.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self { id, mode, target_name, application_name, namespace, repository, source_directory, public_ip } = self;
        let directory = source_directory.as_ref().map(|it| format!(", directory `{it}`")).unwrap_or_default();
        let address = public_ip.map(|ip| format!(" at `{ip}`")).unwrap_or_default();
        format!(
            "`{application_name}` in namespace `{namespace}` on `{target_name}`{address} ({mode}, {repository}{directory}, `{id}`)"
        )
    }
}

fn fits<T>(given: Option<&T>, is: impl Fn(&T) -> bool) -> bool {
    given.is_none_or(is)
}

/// The given values as the end of the sentence "no deployment ...".
fn wanted(selector: &Selector) -> String {
    let Selector {
        mode,
        target_name,
        namespace,
        application_name,
        repository,
        source_directory,
        public_ip,
        key_pair: _,
    } = selector;
    let facts: Vec<String> = [
        ("deployment_mode", mode.map(|it| it.to_string())),
        ("instance_id", target_name.as_ref().map(ToString::to_string)),
        ("target_namespace", namespace.as_ref().map(ToString::to_string)),
        ("instance_name", application_name.as_ref().map(ToString::to_string)),
        ("github_repo_url", repository.as_ref().map(ToString::to_string)),
        ("source_directory", source_directory.as_ref().map(ToString::to_string)),
        ("public_ip", public_ip.map(|it| it.to_string())),
    ]
    .into_iter()
    .filter_map(|(field, value)| value.map(|value| format!("`{field}` `{value}`")))
    .collect();
    if facts.is_empty() { "exists".to_owned() } else { format!("has {}", facts.join(" and ")) }
}

/// How many deployments a message lists that nobody asked for.
pub(super) const LISTED: usize = 20;

/// What is there, so that a person sees the slip.
fn existing(candidates: &[Candidate]) -> String {
    if candidates.is_empty() {
        return "nothing is deployed, `deploy` comes first".to_owned();
    }
    let list: Vec<String> = candidates.iter().take(LISTED).map(Candidate::in_words).collect();
    let more = match candidates.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("deployed are: {}{more}", list.join("; "))
}

/// The fields whose values differ among `several`; the id of a deployment when no other tells all of them apart.
fn distinguishing_fields(several: &[&Candidate]) -> Vec<&'static str> {
    type Read = fn(&Candidate) -> String;
    let values: [(&str, Read); 7] = [
        ("deployment_mode", |it| it.mode.to_string()),
        ("instance_id", |it| it.target_name.clone()),
        ("target_namespace", |it| it.namespace.to_string()),
        ("instance_name", |it| it.application_name.to_string()),
        ("github_repo_url", |it| it.repository.identity()),
        ("source_directory", |it| it.source_directory.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("public_ip", |it| it.public_ip.map(|ip| ip.to_string()).unwrap_or_default()),
    ];
    let differing: Vec<&str> = values
        .iter()
        .filter(|(_, value)| several.windows(2).any(|pair| value(pair[0]) != value(pair[1])))
        .map(|(field, _)| *field)
        .collect();
    if differing.is_empty() { vec!["instance_id"] } else { differing }
}

fn in_words(candidates: &[Candidate]) -> String {
    candidates.iter().map(Candidate::in_words).collect::<Vec<_>>().join("; ")
}

/// Field names as a message shows them.
fn ticked(fields: &[&str]) -> String {
    fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TargetName;

    fn candidate(mode: Mode, target_name: &str, namespace: &str, name: &str, repository: &str) -> Candidate {
        Candidate {
            id: DeploymentId::new(),
            mode,
            target_name: target_name.to_owned(),
            application_name: DeploymentName::parse(name).unwrap(),
            namespace: Namespace::parse(namespace).unwrap(),
            repository: RepositoryUrl::parse(repository).unwrap(),
            source_directory: None,
            public_ip: None,
        }
    }

    fn three() -> Vec<Candidate> {
        vec![
            candidate(Mode::Local, "on-demand-infra", "demo", "web", "https://github.com/a/web"),
            candidate(Mode::Local, "on-demand-infra", "test", "web", "https://github.com/a/web"),
            candidate(Mode::CloudHosted, "shop", "default", "api", "https://github.com/a/api.git"),
        ]
    }

    #[test]
    fn without_facts_the_only_deployment_is_meant() {
        let one = &three()[..1];

        assert_eq!(select(one, &Selector::default(), Source::Fields).unwrap(), &one[0]);
    }

    #[test]
    fn the_namespace_tells_two_of_the_same_name_apart() {
        let all = three();
        let selector = Selector { namespace: Namespace::parse("test").ok(), ..Selector::default() };

        assert_eq!(select(&all, &selector, Source::Fields).unwrap().id, all[1].id);
    }

    #[test]
    fn several_are_listed_with_the_fields_that_differ() {
        let all = three();
        let selector = Selector { mode: Some(Mode::Local), ..Selector::default() };

        let SelectionError::Several { fitting, fields } = select(&all, &selector, Source::Fields).unwrap_err() else {
            panic!("two fit")
        };

        assert_eq!(fields, ["target_namespace"]);
        assert_eq!(fitting.len(), 2);
    }

    #[test]
    fn an_instance_id_is_the_name_of_the_target_or_the_id_of_the_deployment() {
        let all = three();
        let by_target = Selector { target_name: TargetName::parse("shop").ok(), ..Selector::default() };
        let by_id = Selector { target_name: TargetName::parse(all[1].id.to_string()).ok(), ..Selector::default() };

        assert_eq!(select(&all, &by_target, Source::Fields).unwrap().id, all[2].id);
        assert_eq!(select(&all, &by_id, Source::Fields).unwrap().id, all[1].id);
    }

    #[test]
    fn in_the_cloud_modes_the_name_may_be_the_instance_or_the_cluster_and_an_own_name_comes_first() {
        let mut all = three();
        all.push(candidate(Mode::CloudLocal, "box", "default", "blog", "https://github.com/a/blog"));
        let named = |name: &str| Selector { application_name: DeploymentName::parse(name).ok(), ..Selector::default() };

        let found = |all: &[Candidate], name: &str| select(all, &named(name), Source::Fields).map(|it| it.id);
        assert_eq!(found(&all, "shop").unwrap(), all[2].id);
        assert_eq!(found(&all, "box").unwrap(), all[3].id);
        assert!(found(&all, "on-demand-infra").is_err());
        all.push(candidate(Mode::CloudLocal, "box", "default", "box", "https://github.com/a/box"));
        assert_eq!(found(&all, "box").unwrap(), all[4].id);
    }

    #[test]
    fn a_name_in_a_sentence_is_an_application_s_before_it_is_a_repository_s_or_a_namespace_s() {
        let named = |name: &str| Selector { application_name: DeploymentName::parse(name).ok(), ..Selector::default() };
        let mut all = three();
        let found = |all: &[Candidate], name: &str, source| {
            select(all, &named(name), source).map(|it| it.namespace.to_string()).unwrap_or_default()
        };

        assert_eq!(found(&all, "test", Source::Sentence), "test");
        assert_eq!(found(&all, "test", Source::Fields), "");
        all.push(candidate(Mode::Local, "on-demand-infra", "elsewhere", "test", "https://github.com/a/other"));
        assert_eq!(found(&all, "test", Source::Sentence), "elsewhere");
        all.push(candidate(Mode::Local, "on-demand-infra", "far", "appapp-demo-1", "https://github.com/a/demo"));
        assert_eq!(found(&all, "demo", Source::Model), "far");
    }

    #[test]
    fn two_spellings_of_a_repository_are_the_same() {
        let all = three();
        let selector =
            Selector { repository: RepositoryUrl::parse("https://GitHub.com/a/api/").ok(), ..Selector::default() };

        assert_eq!(select(&all, &selector, Source::Fields).unwrap().id, all[2].id);
    }

    #[test]
    fn two_directories_of_a_repository_are_told_apart() {
        let directory = |text: &str| SourceDirectory::parse(text).ok();
        let at = |path: &str, name: &str| Candidate {
            source_directory: directory(path).and_then(SourceDirectory::below_root),
            ..candidate(Mode::Local, "c", "demo", name, "https://github.com/a/web")
        };
        let all = [at(".", "root"), at("services/api", "api"), at("services/web", "web")];
        let selected = |path: &str| {
            let selector = Selector { source_directory: directory(path), ..Selector::default() };
            select(&all, &selector, Source::Fields)
                .map(|it| it.application_name.to_string())
                .map_err(|error| error.to_string())
        };

        assert_eq!((selected("."), selected("services/web/")), (Ok("root".to_owned()), Ok("web".to_owned())));
        assert!(selected("web").unwrap_err().starts_with("no deployment has `source_directory` `web`; deployed are"));
        let error = select(&all, &Selector::default(), Source::Fields).unwrap_err().to_string();
        assert!(error.ends_with("say which one with `instance_name`, `source_directory`"), "{error}");
    }

    #[test]
    fn none_says_what_was_wanted_and_what_exists() {
        let all = three();
        let selector = Selector { application_name: DeploymentName::parse("nope").ok(), ..Selector::default() };

        let text = select(&all, &selector, Source::Fields).unwrap_err().to_string();

        assert!(text.starts_with("no deployment has `instance_name` `nope`; deployed are: `web` in namespace `demo`"));
        assert_eq!(
            select(&[], &Selector::default(), Source::Fields).unwrap_err().to_string(),
            "no deployment exists; nothing is deployed, `deploy` comes first"
        );
    }

    #[test]
    fn twins_are_told_apart_by_their_id() {
        let twin = || candidate(Mode::Local, "c", "demo", "web", "https://github.com/a/web");

        let error = select(&[twin(), twin()], &Selector::default(), Source::Fields).unwrap_err();

        assert!(matches!(error, SelectionError::Several { fields, .. } if fields == ["instance_id"]));
    }
}
