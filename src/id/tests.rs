//! Tests of names and identifiers.

use proptest::prelude::*;

use super::*;

fn url(text: &str) -> Option<RepositoryUrl> {
    RepositoryUrl::parse(text).ok()
}

#[test]
fn addresses_of_repositories_are_accepted() {
    let good = [
        "https://github.com/owner/name",
        "https://github.com/owner/name.git",
        "https://github.com/owner/name/",
        "https://git.example:8443/deep/er/name.git",
        "https://dev.example/org/My%20Project/_git/name",
        "https://[::1]:8443/a/b",
        "https://127.0.0.1:8443/a.git",
        "ssh://git@github.com/owner/name.git",
        "ssh://git@host:2222/~user/name.git",
        "git@github.com:owner/name.git",
        "git@host:~user/name",
        "git@[::1]:a/b",
        "git@host:/srv/git/name.git",
        "file:///srv/git/name.git",
    ];

    let refused: Vec<&str> = good.into_iter().filter(|text| url(text).is_none()).collect();

    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn anything_else_is_no_address() {
    let bad = [
        "",
        "x",
        "-u",
        "github.com/a/b",
        "http://github.com/a/b",
        "https://../a",
        "https://github..com/a/b",
        "git://github.com/a/b",
        "ext::sh -c x",
        "https:github.com/a/b",
        "https:/github.com/a/b",
        "https:///a/b",
        "https://github.com",
        "https://github.com/",
        "https://github.com//a/b",
        "https://github.com/a/../b",
        "https://github.com/a/%2e%2E/b",
        "https://github.com/a/.%2e/b",
        "https://github.com/a%2fb",
        "https://github.com/-a/b",
        "https://github.com/a/%2db",
        "https://github.com/a\\b",
        "https://github.com/a b",
        "https://github.com/a/b?x=y",
        "https://github.com/a/b?",
        "https://github.com/a/b#x",
        "https://@github.com/a/b",
        "https://github.com@evil.example/a/b",
        "https://gith%75b.com/a/b",
        "https://0x7f.1/a/b",
        "https://2130706433/a/b",
        "https://-oProxyCommand=x/a",
        "https://host:0/a",
        "https://host:99999/a",
        "https://host:/a",
        "ssh://-oProxyCommand=x/a",
        "ssh://-x@host/a",
        "ssh://%2dx@host/a",
        "ssh://git:secret@host/a",
        "-x@host:a/b",
        "git@-host:a/b",
        "git@host:-a",
        "git@host:../a",
        "git@host://a",
        "git@host:",
        "file://host/a",
        "file:///",
        "file:///a/../b",
        "file:///a\n",
    ];

    let accepted: Vec<&str> = bad.into_iter().filter(|text| url(text).is_some()).collect();

    assert!(accepted.is_empty(), "{accepted:?}");
}

#[test]
fn the_scheme_is_kept_in_lower_case_because_git_knows_no_other() {
    assert_eq!(url("HTTPS://GitHub.com/A/b").unwrap().as_str(), "https://GitHub.com/A/b");
}

#[test]
fn spellings_of_one_repository_have_one_identity() {
    let spellings = [
        "https://github.com/a/b",
        "https://GITHUB.com/a/b.git",
        "https://github.com:443/a/b/",
        "git@github.com:a/b.git",
        "ssh://git@GitHub.com:22/a/b",
    ];

    let identities: Vec<String> = spellings.iter().map(|text| url(text).unwrap().identity()).collect();

    assert_eq!(identities, ["github.com/a/b"; 5]);
}

#[test]
fn the_name_of_a_repository_fits_a_label() {
    assert_eq!(url("https://github.com/a/My_App.v2.git/").unwrap().name(), "my-app-v2");
    assert_eq!(url("git@host:a/___").unwrap().name(), "app");
}

#[test]
fn refused_addresses_do_not_repeat_what_may_be_a_secret() {
    let shown = |text: &str| RepositoryUrl::parse(text).unwrap_err().to_string();

    assert!(!shown("https://me:hunter2@github.com/a b").contains("hunter2"));
    assert!(!shown("me:hunter2@github.com:a/b").contains("hunter2"));
    assert!(!shown("ftp://hunter2@github.com/a/b").contains("hunter2"));
    assert!(!shown("https://github.com/a/b?token=hunter2").contains("hunter2"));
    assert!(!shown("hunter2@").contains("hunter2"));
}

#[test]
fn a_derived_name_is_the_same_for_the_same_deployment_only() {
    let namespace = Namespace::parse("demo").unwrap();
    let name = |text: &str, target: &str| derived_deployment_name(&url(text).unwrap(), None, target, &namespace);
    let api = SourceDirectory::parse("services/api").unwrap();
    let in_api = derived_deployment_name(&url("https://github.com/a/b").unwrap(), Some(&api), "one", &namespace);
    let long = format!("https://github.com/a/{}", "x-".repeat(60));

    assert_eq!(name("https://github.com/a/b", "one"), name("git@github.com:a/b.git", "one"));
    assert_ne!(name("https://github.com/a/b", "one"), name("https://github.com/a/b", "two"));
    assert_ne!(name("https://github.com/a/b", "one"), in_api);
    assert!(name(&long, "one").as_str().len() <= 63);
}

#[test]
fn names_that_could_be_a_path_or_an_option_are_refused() {
    let evil = ["-x", "--help", "..", "a/../b", "/etc/passwd", "a/b", "a\0b", "a\nb", "", " ", "."];

    assert!(evil.iter().all(|text| DeploymentName::parse(*text).is_err()));
    assert!(evil.iter().all(|text| Namespace::parse(*text).is_err()));
    assert!(evil.iter().all(|text| ClusterName::parse(*text).is_err()));
    assert!(evil.iter().all(|text| TargetName::parse(*text).is_err()));
    assert!(evil.iter().all(|text| KeyPairName::parse(*text).is_err()));
    assert!(evil.iter().all(|text| SubdomainLabel::parse(*text).is_err()));
    assert!(evil.iter().all(|text| Region::parse(*text).is_err()));
    assert!(evil.iter().all(|text| HostedZoneId::parse(*text).is_err()));
}

#[test]
fn refs_follow_the_rules_of_git() {
    let good = ["main", "feature/x", "v1.2.3", "refs/pull/1/head", "abc123", "a@b", "ünï"];
    let bad = ["-x", "+main", "a..b", "a b", "@", "a@{1}", "/a", "a/", "a//b", "a/.b", "a.lock/b", "a~1", "a:b", "."];

    assert!(good.iter().all(|text| GitRef::parse(*text).is_ok()));
    assert!(bad.iter().all(|text| GitRef::parse(*text).is_err()));
}

#[test]
fn the_tag_of_an_image_is_neither_a_port_nor_a_digest() {
    let tag = |text| ImageRef::parse(text).unwrap().tag().to_owned();

    assert_eq!(tag("on-demand-infra/app:0123-ab"), "0123-ab");
    assert_eq!(tag("127.0.0.1:5000/app"), "latest");
    assert_eq!(tag("127.0.0.1:5000/app:1@sha256:00"), "1");
    assert_eq!(tag("app@sha256:00"), "latest");
}

#[test]
fn a_dockerfile_stays_in_the_repository() {
    let good = ["Dockerfile", "docker/web.Dockerfile", "a b/Dockerfile"];
    let bad = ["", "/Dockerfile", "../Dockerfile", "a/../b", "-f", "a//b", "a/", "a\\b", "a\tb"];

    assert!(good.iter().all(|text| DockerfilePath::parse(*text).is_ok()));
    assert!(bad.iter().all(|text| DockerfilePath::parse(*text).is_err()));
}

#[test]
fn a_source_directory_stays_in_the_repository_and_has_one_spelling() {
    let bad = ["", "/", "/app", "../app", "a/../b", "-x", "./-x", "a//b", "a\\b", "a\tb", ".git", "a/.git/b", "a//"];
    let spellings = ["services/api", "services/api/", "./services/api", "services/./api/"];

    assert!(bad.iter().all(|text| SourceDirectory::parse(*text).is_err()));
    assert!(spellings.iter().all(|text| SourceDirectory::parse(*text).unwrap().as_str() == "services/api"));
    assert!([".", "./", "./."].iter().all(|text| SourceDirectory::parse(*text).unwrap().is_root()));
    assert!(SourceDirectory::parse("a".repeat(256)).is_err());
}

#[test]
fn lengths_are_bounded() {
    assert!(DeploymentName::parse("a".repeat(63)).is_ok());
    assert!(DeploymentName::parse("a".repeat(64)).is_err());
    assert!(ClusterName::parse("a".repeat(50)).is_err());
    assert!(GitRef::parse("a".repeat(256)).is_err());
}

#[test]
fn an_error_shows_a_bounded_value_on_one_line() {
    let error = Namespace::parse(format!("a\n{}", "x".repeat(500))).unwrap_err();

    assert_eq!(error.value.chars().count(), 80);
    assert!(!error.value.contains('\n'));
}

#[test]
fn regions_look_like_regions() {
    assert!(["eu-central-1", "us-gov-west-1"].iter().all(|text| Region::parse(*text).is_ok()));
    assert!(["", "moon", "1-2-3", "eu-central", "EU-central-1", "eu--1"].iter().all(|it| Region::parse(*it).is_err()));
}

#[test]
fn words_have_one_text_each() {
    assert!(Mode::ALL.iter().all(|mode| Mode::parse(mode.as_str()) == Ok(*mode)));
    assert!(Action::ALL.iter().all(|action| Action::parse(action.as_str()) == Ok(*action)));
    assert!(Mode::parse("Local").unwrap_err().to_string().ends_with("one of `local`, `cloud-local`, `cloud-hosted`"));
}

#[test]
fn own_ids_are_read_as_they_are_written() {
    let id = DeploymentId::new();

    assert_eq!(DeploymentId::parse(&id.to_string()), Ok(id));
    assert!(OperationId::parse(&id.to_string()).is_err());
    assert!(DeploymentId::parse(&id.to_string().to_uppercase()).is_err());
    assert!(TargetName::parse(id.to_string()).is_ok());
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_accepted_reads_back(text in prop_oneof![
        ".{0,80}",
        "[a-zA-Z0-9./:@%_ -]{0,60}",
        "(https|ssh|file|HTTPS)://([a-z%]{0,6}@)?[a-z0-9.:\\[\\]-]{0,12}/[a-zA-Z0-9./%~_-]{0,30}",
        "[a-z-]{0,5}@[a-z.-]{0,10}:[a-z./~-]{0,12}",
    ]) {
        if let Some(url) = url(&text) {
            prop_assert_eq!(RepositoryUrl::parse(url.to_string()), Ok(url.clone()));
            prop_assert!(!url.as_str().starts_with('-') && !url.as_str().contains("/../"));
            prop_assert!(!url.host_and_port().starts_with('-'));
            prop_assert!(!url.name().is_empty() && !url.name().starts_with('-') && !url.name().ends_with('-'));
            let name = derived_deployment_name(&url, None, "target", &Namespace::parse("default").unwrap());
            prop_assert!(name.as_str().len() <= 63);
        }
        if let Ok(name) = DeploymentName::parse(text.as_str()) {
            prop_assert!(Namespace::parse(name.as_str()).is_ok() || name.as_str().starts_with("kube-"));
        }
        for accepted in [
            GitRef::parse(text.as_str()).map(String::from),
            TargetName::parse(text.as_str()).map(String::from),
            KeyPairName::parse(text.as_str()).map(String::from),
            DockerfilePath::parse(text.as_str()).map(String::from),
            ImageRef::parse(text.as_str()).map(String::from),
            EnvironmentName::parse(text.as_str()).map(String::from),
        ].into_iter().flatten() {
            prop_assert_eq!(&accepted, &text);
            prop_assert!(!accepted.starts_with(['-', '/']));
            prop_assert!(!accepted.split('/').any(|part| part == ".."));
        }
        let _ = (OperationId::parse(&text), Mode::parse(&text), Region::parse(text.as_str()));
    }
}
