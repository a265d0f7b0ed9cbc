//! Tests of the body fields: each field wrong in each way, and what is missing.

use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::json;

use super::*;
use crate::intent::{Confirmation, Intent, VersionRef};

const LIMITS: Limits = Limits { max_replicas: 20, aws_credentials_in_settings: false };

fn read(body: Value) -> Result<Option<Request>, IntentError> {
    let Value::Object(body) = body else { panic!("an object") };
    parse(&body, &LIMITS)
}

/// The error as `code param`.
fn error(body: Value) -> String {
    let error = read(body).unwrap_err();
    format!("{} {}", error.code.as_str(), error.param.unwrap_or_default())
}

fn deploy_with(name: &str, value: Value) -> Value {
    let mut body = json!({"action": "deploy", "deployment_mode": "local", "github_repo_url": "https://github.com/a/b"});
    body[name] = value;
    body
}

#[test]
fn a_body_without_an_action_is_no_request() {
    assert!(read(json!({"model": "x"})).unwrap().is_none());
    assert!(read(json!({"action": null})).unwrap().is_none());
    assert!(read(json!({"action": "", "deployment_mode": "local"})).unwrap().is_none());
}

#[test]
fn a_deploy_takes_every_field() {
    let request = read(json!({
        "action": "deploy", "deployment_mode": "cloud-hosted", "github_repo_url": "https://github.com/a/b",
        "git_ref": "feature/x", "target_namespace": "demo", "instance_name": "web", "instance_id": "shop",
        "aws_credentials": {"aws_access_key_id": "AKIA", "aws_secret_access_key": "s/+=", "aws_region": "eu-west-1"},
        "base_hosted_zone_id": "Z1", "app_subdomain_label": "shop", "scale_replicas": "3", "container_port": "8080",
        "stop_grace_s": "30", "environment": {"A": "x", "B": 1, "C": true, "D": 1.5}, "dockerfile_path": "docker/Dockerfile",
        "source_directory": "services/api/", "build_target": "web", "build_platform": "linux/arm64",
        "build_args": {"VERSION": "1.2", "DEBUG": true}, "build_secrets": {"npm": "npm-t0ken"},
        "git_token": "t0ken", "keep_target": "True", "dry_run": true, "confirm": "false", "tail": 5, "stream": true,
    }))
    .unwrap()
    .unwrap();

    assert!(request.dry_run);
    assert_eq!(request.source, Source::Fields);
    assert_eq!(
        request.secrets.environment.unwrap().values().map(ExposeSecret::expose_secret).collect::<Vec<_>>(),
        ["x", "1", "true", "1.5"]
    );
    assert_eq!(request.secrets.git_token.unwrap().expose_secret(), "t0ken");
    insta::assert_json_snapshot!(request.intent, @r#"
    {
      "action": "deploy",
      "mode": "cloud-hosted",
      "repository": "https://github.com/a/b",
      "git_ref": "feature/x",
      "instance_id": "shop",
      "namespace": "demo",
      "name": "web",
      "replicas": 3,
      "container_port": 8080,
      "stop_grace_s": 30,
      "source_directory": "services/api",
      "dockerfile": "docker/Dockerfile",
      "build": {
        "args": {
          "DEBUG": "true",
          "VERSION": "1.2"
        },
        "target": "web",
        "platform": "linux/arm64",
        "secrets": [
          "npm"
        ]
      },
      "keep_target": true,
      "key_pair": null,
      "domain": {
        "zone": "Z1",
        "label": "shop"
      }
    }
    "#);
}

fn intent(body: Value) -> Value {
    serde_json::to_value(read(body).unwrap().unwrap().intent).unwrap()
}

#[test]
fn numbers_and_flags_may_come_as_strings_or_with_an_empty_fraction() {
    let logs = |tail: Value, follow: Value| intent(json!({"action": "logs", "tail": tail, "follow": follow}));

    assert_eq!(logs(json!(" 7 "), json!(" TRUE "))["tail"], 7);
    assert_eq!(logs(json!(" 7 "), json!(" TRUE "))["follow"], true);
    assert_eq!(logs(json!(5000.0), json!("False"))["tail"], 5000);
    assert_eq!(logs(json!(1), json!("False"))["follow"], false);
}

#[test]
fn a_rollback_goes_to_a_revision_or_to_a_commit() {
    let to = |version: Value| {
        intent(json!({"action": "rollback", "deployment_mode": "local", "rollback_to": version}))["to"].clone()
    };

    assert_eq!(to(json!(1)), json!({"revision": 1}));
    assert_eq!(to(json!("12")), json!({"revision": 12}));
    assert_eq!(to(json!("12345ab")), json!({"commit": "12345ab"}));
}

#[test]
fn a_confirmation_is_given_or_is_the_hash_of_a_plan() {
    let confirmed = |value: Value| {
        let body = json!({"action": "decommission", "deployment_mode": "local", "confirm": value});
        read(body).unwrap().unwrap().confirmation
    };

    assert_eq!(confirmed(json!(true)), Confirmation::Given);
    assert_eq!(confirmed(json!("False")), Confirmation::Missing);
    assert_eq!(
        confirmed(json!(" 0123456789ab ")),
        Confirmation::OfPlan(crate::id::PlanHash::parse("0123456789ab").unwrap())
    );
}

#[test]
fn credentials_are_taken_as_they_are_and_an_empty_part_is_none() {
    let credentials = |object: Value| {
        read(deploy_with("aws_credentials", object)).unwrap().unwrap().secrets.aws.expect("credentials are in the body")
    };
    let full = credentials(json!({
        "aws_access_key_id": "AKIA", "aws_secret_access_key": "s/+=", "aws_session_token": "t", "aws_region": "eu-west-1",
    }));
    let least = credentials(json!({
        "aws_access_key_id": "AKIA", "aws_secret_access_key": "s/+=", "aws_session_token": "", "aws_region": null,
    }));

    assert_eq!(full.access_key_id.expose_secret(), "AKIA");
    assert_eq!(full.secret_access_key.expose_secret(), "s/+=");
    assert_eq!(full.session_token.unwrap().expose_secret(), "t");
    assert_eq!(full.region.unwrap().to_string(), "eu-west-1");
    assert!(least.session_token.is_none() && least.region.is_none());
}

#[test]
fn the_fields_whose_values_must_not_be_shown() {
    let secret: Vec<&str> = FIELDS.iter().filter(|field| field.secret).map(|field| field.name).collect();

    assert_eq!(secret, ["aws_credentials", "environment", "build_secrets", "git_token"]);
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let error = read(json!({"action": "deploy"})).unwrap_err();

    assert_eq!(error.param.as_deref(), Some("deployment_mode"));
    assert_eq!(
        error.message,
        "`deploy` also needs `deployment_mode` and `github_repo_url`: the mode is one of `local`, `cloud-local`, \
         `cloud-hosted`"
    );
}

#[test]
fn each_action_and_mode_has_its_own_required_fields() {
    let missing = |body: Value| read(body).unwrap_err().message;

    assert_eq!(
        missing(json!({"action": "deploy", "deployment_mode": "cloud-local", "app_subdomain_label": "x"})),
        "`deploy` also needs `github_repo_url`, `ec2_key_name`, `base_hosted_zone_id` and `aws_credentials`"
    );
    assert_eq!(
        missing(json!({"action": "scale", "deployment_mode": "cloud-hosted"})),
        "`scale` also needs `instance_id`, `scale_replicas` and `aws_credentials`"
    );
    assert_eq!(
        missing(json!({"action": "redeploy", "deployment_mode": "cloud-hosted", "instance_id": "shop"})),
        "`redeploy` also needs `aws_credentials`: the settings hold no AWS credentials"
    );
    assert_eq!(error(json!({"action": "decommission"})), "missing_required_parameter deployment_mode");
    assert_eq!(
        error(json!({"action": "scale", "deployment_mode": "local"})),
        "missing_required_parameter scale_replicas"
    );
}

#[test]
fn local_lifecycle_actions_need_no_more_than_the_mode() {
    let request = read(json!({"action": "decommission", "deployment_mode": "local"})).unwrap().unwrap();

    assert!(matches!(request.intent, Intent::Decommission(_)));
    assert!(read(json!({"action": "list"})).unwrap().is_some());
    assert!(read(json!({"action": "status"})).unwrap().is_some());
}

#[test]
fn credentials_of_the_settings_suffice() {
    let limits = Limits { aws_credentials_in_settings: true, ..LIMITS };
    let body = json!({"action": "redeploy", "deployment_mode": "cloud-hosted", "instance_id": "shop"});

    assert!(parse(body.as_object().unwrap(), &limits).unwrap().is_some());
}

#[test]
fn each_field_wrong_in_each_way_names_itself() {
    let wrong: &[(&str, Value)] = &[
        ("action", json!("Deploy!")),
        ("action", json!(3)),
        ("deployment_mode", json!("cloud_local")),
        ("deployment_mode", json!(["local"])),
        ("github_repo_url", json!("")),
        ("github_repo_url", json!("http://github.com/a/b")),
        ("github_repo_url", json!("https://github.com/a/../b")),
        ("git_ref", json!("--upload-pack=x")),
        ("git_ref", json!({"branch": "x"})),
        ("target_namespace", json!("Demo")),
        ("target_namespace", json!("kube-system")),
        ("instance_name", json!("../x")),
        ("instance_name", json!("1web")),
        ("instance_id", json!("a/b")),
        ("public_ip", json!("1.2.3")),
        ("ec2_key_name", json!("a/b")),
        ("aws_credentials", json!("x")),
        ("base_hosted_zone_id", json!("x")),
        ("app_subdomain_label", json!("a.b")),
        ("scale_replicas", json!(-1)),
        ("scale_replicas", json!(21)),
        ("scale_replicas", json!(1.5)),
        ("scale_replicas", json!("three")),
        ("scale_replicas", json!(true)),
        ("scale_replicas", json!("+1")),
        ("scale_replicas", json!("")),
        ("container_port", json!(0)),
        ("container_port", json!(65536)),
        ("environment", json!([])),
        ("environment", json!({"1A": "x"})),
        ("environment", json!({"A": null})),
        ("environment", json!({"A": {}})),
        ("environment", json!({"A": "x\u{0}"})),
        ("dockerfile_path", json!("../Dockerfile")),
        ("build_target", json!("-x")),
        ("build_target", json!("a b")),
        ("build_platform", json!("windows/amd64")),
        ("build_platform", json!("amd64")),
        ("build_args", json!({"A-B": "x"})),
        ("build_args", json!({"A": []})),
        ("build_secrets", json!({"../x": "y"})),
        ("build_secrets", json!({"a,src=/etc/shadow": "y"})),
        ("build_secrets", json!({"npm": null})),
        ("git_token", json!("a b")),
        ("rollback_to", json!(0)),
        ("rollback_to", json!("latest")),
        ("rollback_to", json!("12345678z")),
        ("keep_target", json!("maybe")),
        ("delete_cluster", json!(2)),
        ("follow", json!([])),
        ("tail", json!(0)),
        ("tail", json!(5001)),
        ("confirm", json!("si")),
        ("dry_run", json!({})),
    ];

    let found: Vec<String> = wrong.iter().map(|(name, value)| error(deploy_with(name, value.clone()))).collect();
    let expected: Vec<String> = wrong.iter().map(|(name, _)| format!("invalid_value {name}")).collect();

    assert_eq!(found, expected);
}

#[test]
fn a_message_says_what_was_given_and_what_is_wanted() {
    let wrong: &[(&str, Value)] = &[
        ("git_ref", json!("")),
        ("git_ref", json!(true)),
        ("git_ref", json!(["x"])),
        ("public_ip", json!("1.2\n3")),
        ("scale_replicas", json!(21)),
        ("scale_replicas", json!({})),
        ("keep_target", json!("x".repeat(100))),
        ("confirm", json!(1)),
        ("rollback_to", json!([])),
        ("git_token", json!("a b")),
        ("environment", json!("A=x")),
        ("environment", json!({"A": null})),
        ("aws_credentials", json!(3)),
        ("aws_credentials", json!({"aws_access_key_id": {}})),
        ("aws_credentials", json!({"aws_access_key_id": "a b"})),
        ("aws_credentials", json!({})),
    ];

    let messages: Vec<String> =
        wrong.iter().map(|(name, value)| read(deploy_with(name, value.clone())).unwrap_err().message).collect();

    insta::assert_snapshot!(messages.join("\n"), @r"
    `git_ref`: the text is empty: give a value, or leave the field out
    `git_ref`: a text is wanted, a boolean was given
    `git_ref`: a text is wanted, an array was given
    `public_ip`: `1.2�3` is not an IP address such as `203.0.113.7`
    `scale_replicas`: `21` is not a whole number from 0 to 20
    `scale_replicas`: an object is not a whole number from 0 to 20
    `keep_target`: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is not `true` or `false`
    `confirm`: `1` is not `true`, `false` or the hash of a plan, 12 hexadecimal digits
    `rollback_to`: an array is neither a revision number from 1 nor 7 to 64 hexadecimal digits of a commit id
    `git_token`: at most 4096 printable characters without spaces are wanted (the value is not shown)
    `environment`: an object of variable names to values is wanted, a text was given
    `environment`: the value of `A` is null, a string, a number, true or false is wanted
    `aws_credentials`: an object is wanted, a number was given
    `aws_credentials.aws_access_key_id`: a text is wanted, an object was given
    `aws_credentials.aws_access_key_id`: at most 128 printable characters without spaces are wanted (the value is not shown)
    `aws_credentials.aws_access_key_id`: is missing
    ");
}

#[test]
fn a_part_of_the_credentials_names_its_path() {
    let part = |object: Value| error(deploy_with("aws_credentials", object));

    assert_eq!(part(json!({})), "missing_required_parameter aws_credentials.aws_access_key_id");
    assert_eq!(
        part(json!({"aws_access_key_id": "a"})),
        "missing_required_parameter aws_credentials.aws_secret_access_key"
    );
    assert_eq!(
        part(json!({"aws_access_key_id": "a", "aws_secret_access_key": "b c"})),
        "invalid_value aws_credentials.aws_secret_access_key"
    );
    assert_eq!(
        part(json!({"aws_access_key_id": "a", "aws_secret_access_key": "b", "aws_region": "moon"})),
        "invalid_value aws_credentials.aws_region"
    );
    assert_eq!(
        part(json!({"aws_access_key_id": "a", "aws_secret_key": "b", "aws_acces_key_id": "c"})),
        "unknown_parameter aws_credentials.aws_acces_key_id"
    );
}

#[test]
fn a_wrong_value_comes_before_a_missing_field_and_counts_when_the_action_does_not_use_it() {
    assert_eq!(error(json!({"action": "list", "scale_replicas": 99})), "invalid_value scale_replicas");
    assert_eq!(error(json!({"action": "deploy", "tail": "x"})), "invalid_value tail");
    assert_eq!(error(json!({"dry_run": "x"})), "invalid_value dry_run");
}

#[test]
fn a_near_miss_is_an_error_with_the_name_that_was_meant() {
    let meant = |name: &str| read(deploy_with(name, json!("x"))).err().map(|it| it.message);

    assert_eq!(
        meant("deployment_mod").as_deref(),
        Some("`deployment_mod` is not a field, did you mean `deployment_mode`?")
    );
    assert!(meant("instanceName").unwrap().contains("`instance_name`"));
    assert!(meant("dryrun").unwrap().contains("`dry_run`"));
    assert!(meant("baseHostedZoneId").unwrap().contains("`base_hosted_zone_id`"));
    assert!(meant("GITHUB-REPO-URL").unwrap().contains("`github_repo_url`"));
    assert_eq!(meant("session_id"), None);
    assert_eq!(meant("keep_alive"), None);
    assert_eq!(meant("mail"), None);
    assert_eq!(meant("options"), None);
    assert!(read(json!({"deployment_mod": "local"})).unwrap().is_none());
}

#[test]
fn no_field_of_openai_is_a_near_miss() {
    assert_eq!(OPENAI_FIELDS.len(), 37);
    let misses: Vec<_> =
        OPENAI_FIELDS.iter().filter(|name| nearest(name, FIELDS.iter().map(|field| field.name)).is_some()).collect();

    assert!(misses.is_empty(), "{misses:?}");
}

#[test]
fn a_word_that_is_nearly_right_is_told_which_was_meant() {
    assert!(read(json!({"action": "decomission"})).unwrap_err().message.ends_with("did you mean `decommission`?"));
    assert!(read(deploy_with("deployment_mode", json!("cloud_local"))).unwrap_err().message.contains("`cloud-local`?"));
}

#[test]
fn a_version_is_a_revision_or_a_commit() {
    assert_eq!(VersionRef::parse("3"), Some(VersionRef::Revision(3)));
    assert_eq!(VersionRef::parse("1234567"), Some(VersionRef::Commit("1234567".to_owned())));
    assert_eq!(VersionRef::parse("ABCDEF1"), Some(VersionRef::Commit("abcdef1".to_owned())));
    assert_eq!(VersionRef::parse(&"a".repeat(64)), Some(VersionRef::Commit("a".repeat(64))));
    assert_eq!(VersionRef::parse(&"a".repeat(65)), None);
    assert_eq!(VersionRef::parse("0"), None);
    assert_eq!(VersionRef::parse("+1"), None);
    assert_eq!(VersionRef::parse(""), None);
    assert_eq!(VersionRef::parse("abc"), None);
}

#[test]
fn secrets_are_never_repeated() {
    let bodies = [
        deploy_with("git_token", json!("hunter2 hunter2")),
        deploy_with("git_token", json!(["hunter2"])),
        deploy_with("environment", json!({"A": ["hunter2"]})),
        deploy_with("environment", json!("A=hunter2")),
        deploy_with("aws_credentials", json!({"aws_access_key_id": "hunter2 ", "aws_secret_access_key": "hunter2"})),
        deploy_with("github_repo_url", json!("https://me:hunter2@github.com/a b")),
        deploy_with("github_repo_url", json!("me:hunter2@github.com:a/b")),
        deploy_with("github_repo_url", json!("https://github.com/a/b?token=hunter2")),
        deploy_with("github_repo_url", json!("https://hunter2@github.com/a/b")),
    ];

    let messages: Vec<String> = bodies.into_iter().map(|body| read(body).unwrap_err().message).collect();

    assert!(!messages.iter().any(|message| message.contains("hunter2")), "{messages:#?}");
}

#[test]
fn too_many_variables_are_refused() {
    let variables = |count: usize| (0..count).map(|index| (format!("A{index}"), json!("x"))).collect();
    let many = |count: usize| deploy_with("environment", Value::Object(variables(count)));
    let long = |bytes: usize| deploy_with("environment", json!({"A": "x".repeat(bytes - 1)}));

    assert!(read(many(100)).is_ok());
    assert_eq!(error(many(101)), "invalid_value environment");
    assert!(read(long(65_536)).is_ok());
    assert_eq!(error(long(65_537)), "invalid_value environment");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "[a-z0-9:/@.-]{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[A-Za-z_]{0,12}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_panics(values in prop::collection::vec((0..FIELDS.len(), any_json()), 0..4), other in ".{0,16}") {
        let mut body = json!({"action": "deploy"});
        body[other] = json!(1);
        for (index, value) in values {
            body[FIELDS[index].name] = value;
        }
        let _ = read(body);
    }
}
