//! Builds that differ from that of the Dockerfile alone: arguments, a stage, a platform, secrets.

use std::fs;

use serde_json::{Value, json};

use crate::world::{TargetKind, World, with};

const DOCKERFILE: &str = "\
FROM base:1 AS build
ARG VERSION
RUN --mount=type=secret,id=npm make $VERSION
FROM base:1 AS web
EXPOSE 8080
COPY --from=build /x /x
FROM base:1 AS test
COPY tests /tests
";

/// A world whose repository has this Dockerfile.
async fn world(dockerfile: &str) -> World {
    let world = World::start().await;
    world.commit("notes", "Dockerfile", dockerfile).await;
    world
}

/// A deploy of the stage `web` with these arguments.
fn deploy(world: &World, args: Value) -> Value {
    let body = with(world.request_for("deploy"), "build_target", json!("web"));
    with(body, "build_args", args)
}

fn redeploy(world: &World) -> Value {
    with(world.request_for("redeploy"), "instance_name", json!("notes"))
}

#[tokio::test]
async fn arguments_a_stage_and_a_platform_reach_the_build_and_the_record() {
    let world = world(DOCKERFILE).await;
    let body = with(deploy(&world, json!({"VERSION": "1.2"})), "build_platform", json!("linux/amd64"));

    let plan = world.chat(&with(body.clone(), "dry_run", json!(true))).await;
    let answer = world.chat(&body).await;

    assert!(plan.text().contains("stage `web`, for `linux/amd64`, `VERSION=1.2`"), "{}", plan.text());
    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    let build = world.docker.last_build();
    assert_eq!(build.args, json!({"VERSION": "1.2"}));
    assert_eq!((build.target.as_str(), build.platform.as_str()), ("web", "linux/amd64"));
    let deployment = &answer.body["deployment"];
    assert_eq!(deployment["build_args"], json!({"VERSION": "1.2"}));
    assert_eq!((&deployment["build_target"], &deployment["build_platform"]), (&json!("web"), &json!("linux/amd64")));
}

#[tokio::test]
async fn a_redeploy_builds_as_before_and_anew_with_other_arguments() {
    let world = world(DOCKERFILE).await;
    world.chat(&deploy(&world, json!({"VERSION": "1"}))).await;

    let same = world.chat(&redeploy(&world)).await;
    let after_same = world.docker.builds();
    let other = world.chat(&with(redeploy(&world), "build_args", json!({"VERSION": "2"}))).await;
    let after_other = (world.docker.builds(), world.docker.last_build());
    world.commit("notes", "new.txt", "new").await;
    world.chat(&redeploy(&world)).await;

    assert!(same.text().contains("Nothing to do"), "{}", same.text());
    assert_eq!(after_same, 1);
    assert_eq!((after_other.0, &after_other.1.args), (2, &json!({"VERSION": "2"})), "{}", other.text());
    let build = world.docker.last_build();
    assert_eq!((world.docker.builds(), build.args, build.target.as_str()), (3, json!({"VERSION": "2"}), "web"));
}

#[tokio::test]
async fn a_stage_that_is_not_there_is_refused_with_those_that_are() {
    let world = world(DOCKERFILE).await;

    let answer = world.chat(&with(world.request_for("deploy"), "build_target", json!("wbe"))).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert!(answer.text().contains("has no stage `wbe`; it has `build`, `web`, `test`"), "{}", answer.text());
    assert_eq!(world.docker.builds(), 0);
}

#[tokio::test]
async fn a_platform_that_the_node_does_not_run_is_refused_before_the_build() {
    let world = world(DOCKERFILE).await;

    let answer = world.chat(&with(world.request_for("deploy"), "build_platform", json!("linux/arm64"))).await;

    assert!(answer.text().contains("`linux/arm64` does not run on nodes of `linux/amd64`"), "{}", answer.text());
    assert_eq!(world.docker.builds(), 0);
}

#[tokio::test]
async fn secrets_are_refused_by_a_builder_that_cannot_mount_them() {
    let world = world(DOCKERFILE).await;
    let body = with(deploy(&world, json!({})), "build_secrets", json!({"npm": "npm-s3cr3t-t0ken"}));

    let answer = world.chat(&body).await;

    assert!(answer.text().contains("builds without BuildKit"), "{}", answer.text());
    assert!(!answer.body.to_string().contains("s3cr3t"), "{}", answer.body);
}

#[tokio::test]
async fn secrets_reach_a_build_on_an_instance_and_stay_nowhere() {
    let mut world = world(DOCKERFILE).await;
    world.target_kind = TargetKind::Ec2;
    fs::write(world.path("ssh-open"), "").unwrap();
    let body = with(deploy(&world, json!({"VERSION": "1"})), "build_secrets", json!({"npm": "npm-s3cr3t-t0ken"}));

    let answer = world.chat(&body).await;
    let again = with(world.request_for("redeploy"), "build_args", json!({"VERSION": "2"}));
    let without = world.chat(&again).await;
    let with_secret = world.chat(&with(again, "build_secrets", json!({"npm": "npm-s3cr3t-other"}))).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    let seen = fs::read_to_string(world.path("build-secrets")).unwrap();
    assert!(seen.starts_with("id=npm,env=BUILD_SECRET_0: npm-s3cr3t-t0ken\n"), "{seen}");
    assert!(without.text().contains("mounts the secret `npm`, which an earlier request brought"), "{}", without.text());
    assert_eq!(with_secret.state(), "succeeded", "{}", with_secret.text());
    assert!(!format!("{}{}", answer.body, with_secret.body).contains("s3cr3t"));
    for operation in [answer.operation(), with_secret.operation()] {
        assert!(!json!(world.events(&operation).await).to_string().contains("s3cr3t"));
    }
    assert_eq!(world.texts("SELECT name FROM secrets").await, Vec::<String>::new());
}

#[tokio::test]
async fn an_argument_without_a_value_is_named() {
    let world = world("FROM base:1\nARG TOKEN_URL\nRUN curl $TOKEN_URL\n").await;

    let answer = world.chat(&world.request_for("deploy")).await;

    let told = "Dockerfile, line 3: ARG `TOKEN_URL` has no value; send one in `build_args`";
    assert!(answer.text().contains(told), "{}", answer.text());
}

#[tokio::test]
async fn a_base_that_cannot_be_had_and_a_file_that_is_not_there_come_in_one_answer() {
    let world = world("FROM base:1\nCOPY gone.txt /\n").await;
    world.failpoints.fail("docker-build", "pull access denied for base, repository does not exist");

    let answer = world.chat(&world.request_for("deploy")).await;

    assert!(answer.text().contains("`base:1` cannot be pulled"), "{}", answer.text());
    assert!(
        answer.text().contains("Dockerfile, line 2: COPY takes `gone.txt`, which is not in the repository"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn the_dockerfile_is_sent_though_the_ignore_file_names_it() {
    let world = world("FROM base:1\nCOPY . /\n").await;
    world.commit("notes", ".dockerignore", "Dockerfile\n.dockerignore\n").await;

    let answer = world.chat(&world.request_for("deploy")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    // The classic builder takes both out of the context again, because the ignore file names both.
    let paths = world.docker.last_build().paths;
    assert!(paths.contains(&"Dockerfile".to_owned()) && paths.contains(&".dockerignore".to_owned()), "{paths:?}");
}
