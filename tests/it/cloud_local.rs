//! Stories about EC2 instances: what is looked at before, what is made, and that nothing stays of it. The fake ssh lets
//! nobody in until a story says so.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::world::aws::{ACCESS_KEY, HOST_KEY, OTHER_HOST_KEY, SECRET_KEY};
use crate::world::{Answer, World, eventually, say, with};

const NOTHING: Vec<String> = Vec::new();

#[tokio::test]
async fn all_that_is_wrong_with_an_account_comes_in_one_answer_and_nothing_is_made() {
    let world = World::start().await;
    world.aws.forget_key_pair();
    world.aws.refuse("RunInstances", "UnauthorizedOperation");
    fs::remove_file(world.path("keys/it-key.pem")).unwrap();

    let answer = world.chat(&world.cloud_local_request("deploy")).await;

    let text = answer.text();
    assert_eq!(answer.state(), "failed", "{text}");
    assert!(text.contains("3 things are not as they must be"), "{text}");
    assert!(text.contains("there is no key pair `it-key` in eu-central-1"), "{text}");
    assert!(text.contains("neither `it-key.pem` nor `it-key`"), "{text}");
    assert!(text.contains("ec2:RunInstances"), "{text}");
    assert_eq!(world.calls("terraform"), NOTHING);
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn credentials_that_aws_refuses_are_told_at_once() {
    let world = World::start().await;
    world.aws.refuse("GetCallerIdentity", "InvalidClientTokenId");

    let answer = world.chat(&world.cloud_local_request("deploy")).await;

    let operation = world.ended(&answer.operation()).await;
    assert_eq!(operation["error"]["code"], "aws_credentials_refused", "{operation:#}");
    assert_eq!(world.aws.count("DescribeSubnets"), 0);
}

#[tokio::test]
async fn an_instance_that_lets_nobody_in_is_destroyed_again() {
    let world = World::start().await;

    let answer = world.chat(&world.cloud_local_request("deploy")).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert!(answer.text().contains("EC2 instance `i-"), "{}", answer.text());
    assert_eq!(world.count("terraform", "apply"), 1, "{:?}", world.calls("terraform"));
    assert_eq!(world.count("terraform", "destroy"), 1);
    assert_eq!(world.aws.things(), NOTHING);
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_plan_says_what_an_instance_costs_and_makes_nothing() {
    let world = World::start().await;

    let answer = world.chat(&with(world.cloud_local_request("deploy"), "dry_run", true)).await;

    assert!(answer.text().contains("costs about 0.057 USD per hour"), "{}", answer.text());
    assert_eq!(world.aws.things(), NOTHING);
}

/// AWS' price list for what an instance is made of.
fn list_prices(world: &World) {
    for (usage, usd) in [
        ("BoxUsage:t3.medium", "1.0000000000"),
        ("BoxUsage:t3.medium.other", "9.0"),
        ("EBS:VolumeUsage.gp3", "0.7300000000"),
        ("PublicIPv4:InUseAddress", "0.0100000000"),
    ] {
        world.aws.list_price(usage, usd);
    }
}

#[tokio::test]
async fn a_plan_says_what_aws_price_list_tells_and_asks_once_a_day() {
    let world = World::with(&[("EC2_VOLUME_GIB", "30")]).await;
    list_prices(&world);

    let body = with(world.cloud_local_request("deploy"), "dry_run", true);
    let first = world.chat(&body).await;
    let asked = world.aws.count("GetProducts");
    let again = world.chat(&body).await;

    // 1 + 30 x 0.73 / 730 + 0.01
    let today = jiff::Zoned::now().date();
    let expected = format!("costs about 1.040 USD per hour, 759 USD per month (AWS' price list of {today})");
    assert!(first.text().contains(&expected), "{}", first.text());
    assert!(again.text().contains(&expected), "{}", again.text());
    assert_eq!((asked, world.aws.count("GetProducts")), (3, 3));
}

#[tokio::test]
async fn where_aws_tells_no_prices_those_of_the_program_are_said_with_their_month() {
    let world = World::start().await;
    list_prices(&world);
    world.aws.refuse("GetProducts", "AccessDeniedException");

    let answer = world.chat(&with(world.cloud_local_request("deploy"), "dry_run", true)).await;

    assert!(answer.text().contains("costs about 0.057 USD per hour"), "{}", answer.text());
    assert!(answer.text().contains("(list prices of 2025-01)"), "{}", answer.text());
    assert!(world.server.log().contains("AWS does not tell a price"), "{}", world.server.log());
}

#[tokio::test]
async fn a_price_list_that_does_not_answer_holds_no_plan_up() {
    let world = World::start().await;
    world.failpoints.hold("aws-GetProducts");

    let answer = world.chat(&with(world.cloud_local_request("deploy"), "dry_run", true)).await;

    assert!(answer.text().contains("(list prices of 2025-01)"), "{}", answer.text());
}

#[tokio::test]
async fn a_price_that_nobody_knows_is_said_to_be_unknown_before_the_yes() {
    let world = World::with(&[
        ("EC2_INSTANCE_TYPE", "u-6tb1.metal"),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_REGION", "eu-central-1"),
    ])
    .await;

    let sentence = format!("deploy {} to cloud-local in namespace team", world.repository("notes"));
    let asked = world.chat(&with(say(&sentence), "ec2_key_name", "it-key")).await;

    assert!(asked.text().starts_with("**Shall I deploy"), "{}", asked.text());
    assert!(asked.text().contains("is not known:** neither AWS' price list nor"), "{}", asked.text());
    assert_eq!(world.aws.things(), NOTHING);
}

#[tokio::test]
async fn what_a_killed_terraform_made_without_writing_it_down_is_found_by_its_tag() {
    let mut world = World::start().await;
    world.failpoints.hold("terraform-state");
    let body = world.cloud_local_request("deploy");
    let _answer = world.begin(&body);
    world.failpoints.reached("terraform-state").await;

    let operation = world.latest().await;
    world.server.kill().await;
    world.kill_programs();
    world.failpoints.release("terraform-state");
    world.start_again().await;

    let operation = world.ended(&operation).await;
    assert_eq!(operation["state"], "undone", "{operation:#}");
    assert_eq!(world.aws.count("TerminateInstances"), 1);
    assert_eq!(world.aws.things(), NOTHING);
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_terraform_that_outlives_the_server_is_waited_for_and_nothing_is_made_twice() {
    let mut world = World::start().await;
    world.failpoints.hold("terraform-state");
    let body = world.cloud_local_request("deploy");
    let _answer = world.begin(&body);
    world.failpoints.reached("terraform-state").await;

    let operation = world.latest().await;
    world.server.kill().await;
    world.start_again().await;
    world.failpoints.release("terraform-state");

    let operation = world.ended(&operation).await;
    assert_eq!(operation["state"], "undone", "{operation:#}");
    assert_eq!(world.aws.count("TerminateInstances"), 0, "it was in the state");
    assert_eq!(world.aws.things(), NOTHING);
}

#[tokio::test]
async fn no_capacity_in_one_zone_is_tried_in_the_next() {
    let world = World::start().await;
    world.failpoints.fail_times("terraform-apply", 1, "InsufficientInstanceCapacity: none left");

    let answer = world.chat(&world.cloud_local_request("deploy")).await;

    assert_eq!(answer.state(), "undone");
    assert_eq!(world.count("terraform", "apply"), 2, "{:?}", world.calls("terraform"));
    assert_eq!(world.aws.things(), NOTHING);
}

#[tokio::test]
async fn no_capacity_at_all_and_what_is_not_allowed_are_told_and_taken_back() {
    for (text, code) in
        [("InsufficientInstanceCapacity", "aws_no_capacity"), ("UnauthorizedOperation", "aws_unauthorized")]
    {
        let world = World::start().await;
        world.failpoints.fail("terraform-apply", text);

        let answer = world.chat(&world.cloud_local_request("deploy")).await;

        let operation = world.ended(&answer.operation()).await;
        assert_eq!(operation["error"]["code"], code, "{operation:#}");
        assert_eq!(world.aws.things(), NOTHING);
        assert_eq!(world.leftovers().await, NOTHING);
    }
}

#[tokio::test]
async fn throttling_and_a_locked_state_are_tried_again() {
    for text in ["RequestLimitExceeded", "Error acquiring the state lock"] {
        let world = World::start().await;
        world.failpoints.fail_times("terraform-apply", 1, text);

        let answer = world.chat(&world.cloud_local_request("deploy")).await;

        let events = world.events(&answer.operation()).await;
        assert!(events.iter().any(|it| it["type"] == "step_retrying"), "{text}: {events:?}");
        assert_eq!(world.count("terraform", "apply"), 2, "{text}");
        assert_eq!(world.aws.things(), NOTHING);
    }
}

/// What is on record of the instance.
async fn recorded_instance(world: &World) -> Value {
    serde_json::from_str(&world.texts("SELECT instance FROM targets").await.concat()).unwrap()
}

/// Deploys, with an instance whose console shows this host key from the bootstrap on.
async fn deployed_while_the_console_shows(world: &World, host_key: &str) -> Answer {
    world.failpoints.hold("bootstrap");
    let answer = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("bootstrap").await;
    world.aws.show_on_console(host_key);
    world.failpoints.release("bootstrap");
    answer.await.unwrap().unwrap()
}

#[tokio::test]
async fn a_console_that_tells_the_host_key_after_the_bootstrap_confirms_it() {
    let world = World::on_instance().await;

    let answer = deployed_while_the_console_shows(&world, HOST_KEY).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert!(!answer.text().contains("host key"), "{}", answer.text());
    let instance = recorded_instance(&world).await;
    assert_eq!(instance["host_keys"], json!([HOST_KEY]));
    assert_eq!(instance["are_host_keys_confirmed"], true);
}

#[tokio::test]
async fn a_machine_that_is_not_the_instance_stops_the_deploy_and_everything_is_taken_back() {
    let world = World::on_instance().await;

    let answer = deployed_while_the_console_shows(&world, OTHER_HOST_KEY).await;

    let operation = world.ended(&answer.operation()).await;
    assert_eq!((&operation["state"], &operation["error"]["code"]), (&json!("undone"), &json!("host_key_mismatch")));
    assert!(answer.text().contains("is not the EC2 instance `i-"), "{}", answer.text());
    assert!(answer.text().contains("Change the secrets"), "{}", answer.text());
    assert_eq!(world.count("kind", "create"), 0);
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_console_that_stays_empty_is_asked_again_by_the_next_operation() {
    let world = World::on_instance().await;
    let deployed = world.deployed().await;
    let before = recorded_instance(&world).await;

    world.aws.show_on_console(HOST_KEY);
    let redeployed = world.chat(&world.request_for("redeploy")).await;
    let asked = world.aws.count("GetConsoleOutput");
    world.chat(&world.request_for("redeploy")).await;

    assert!(deployed.text().contains("does not show its host keys yet"), "{}", deployed.text());
    assert_eq!((&before["host_keys"], &before["are_host_keys_confirmed"]), (&json!([HOST_KEY]), &json!(false)));
    assert_eq!(redeployed.state(), "succeeded", "{}", redeployed.text());
    assert!(!redeployed.text().contains("host key"), "{}", redeployed.text());
    assert_eq!(recorded_instance(&world).await["are_host_keys_confirmed"], true);
    assert_eq!(world.aws.count("GetConsoleOutput"), asked, "what is confirmed is not asked again");
}

#[tokio::test]
async fn a_mismatch_that_is_seen_later_stops_every_operation_but_the_removal() {
    let world = World::on_instance().await;
    world.deployed().await;
    world.aws.show_on_console(OTHER_HOST_KEY);
    let ssh_calls = world.calls("ssh").len();

    let scaled = world.chat(&with(world.request_for("scale"), "scale_replicas", 2)).await;
    let deployed = world.chat(&world.request_for("deploy")).await;
    let (seen, called) = (recorded_instance(&world).await, world.calls("ssh").len());
    let removed = world.chat(&world.request_for("decommission")).await;

    for answer in [scaled, deployed] {
        assert_eq!(answer.state(), "failed", "{}", answer.text());
        assert!(answer.text().contains("is not the EC2 instance `i-"), "{}", answer.text());
    }
    assert_eq!((&seen["are_host_keys_confirmed"], called), (&json!(false), ssh_calls));
    assert_eq!(removed.state(), "succeeded", "{}", removed.text());
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_cancelled_deploy_takes_the_instance_back() {
    let world = World::start().await;
    world.failpoints.hold("ssh");
    let body = world.cloud_local_request("deploy");
    let _answer = world.begin(&body);
    world.failpoints.reached("ssh").await;

    let operation = world.latest().await;
    world.post(&format!("/v1/operations/{operation}/cancel")).await;
    world.failpoints.release("ssh");

    let operation = world.ended(&operation).await;
    assert_eq!(operation["state"], "cancelled", "{operation:#}");
    assert_eq!(world.aws.things(), NOTHING);
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_kept_instance_stays_and_a_decommission_takes_it_with_a_receipt() {
    let world = World::start().await;

    let deploy = world.chat(&with(world.cloud_local_request("deploy"), "keep_target", true)).await;
    let kept = world.aws.things();
    let again = world.chat(&world.cloud_local_request("deploy")).await;

    assert_eq!(deploy.state(), "failed", "{}", deploy.text());
    assert!(deploy.text().contains("stays, as `keep_target` asks"), "{}", deploy.text());
    assert_eq!(kept.len(), 2, "{kept:?}");
    // The second deploy found the instance: it is not its own, and stays.
    assert_eq!(world.count("terraform", "apply"), 1);
    assert_eq!((again.state(), world.aws.things()), ("failed", kept.clone()));

    let gone = world.chat(&world.cloud_local_request("decommission")).await;

    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    assert!(kept.iter().all(|id| gone.text().contains(id)), "{}", gone.text());
    assert!(gone.text().contains("asked AWS in eu-central-1"), "{}", gone.text());
    assert_eq!(world.leftovers().await, NOTHING);
}

/// The points in the middle of what Terraform and ssh do.
const MIDDLES: [&str; 6] =
    ["terraform-init", "terraform-plan", "terraform-apply", "terraform-state", "ssh", "terraform-destroy"];

#[tokio::test]
async fn a_server_that_is_killed_in_the_middle_of_anything_makes_one_instance_and_leaves_none() {
    for point in MIDDLES {
        let mut world = World::start().await;
        world.failpoints.hold(point);
        let body = world.cloud_local_request("deploy");
        let _answer = world.begin(&body);
        world.failpoints.reached(point).await;

        let operation = world.latest().await;
        world.server.kill().await;
        world.failpoints.release(point);
        world.start_again().await;

        let operation = world.ended(&operation).await;
        assert_eq!(operation["state"], "undone", "{point}: {operation:#}");
        assert_eq!(world.count("made", "instance"), 1, "{point}");
        assert_eq!(world.leftovers().await, NOTHING, "{point}");
    }
}

#[tokio::test]
async fn whatever_is_killed_with_the_server_leaves_nothing() {
    for point in MIDDLES {
        let mut world = World::start().await;
        world.failpoints.hold(point);
        let body = world.cloud_local_request("deploy");
        let _answer = world.begin(&body);
        world.failpoints.reached(point).await;

        let operation = world.latest().await;
        world.server.kill().await;
        world.kill_programs();
        world.failpoints.release(point);
        world.start_again().await;

        let operation = world.ended(&operation).await;
        assert_eq!(operation["state"], "undone", "{point}: {operation:#}");
        assert_eq!(world.leftovers().await, NOTHING, "{point}");
    }
}

#[tokio::test]
async fn a_decommission_goes_on_after_a_kill_in_the_middle() {
    let mut world = World::start().await;
    world.chat(&with(world.cloud_local_request("deploy"), "keep_target", true)).await;
    world.failpoints.hold("terraform-destroy");
    let body = world.cloud_local_request("decommission");
    let _answer = world.begin(&body);
    world.failpoints.reached("terraform-destroy").await;

    let operation = world.latest().await;
    world.server.kill().await;
    world.kill_programs();
    world.failpoints.release("terraform-destroy");
    world.start_again().await;

    let operation = world.ended(&operation).await;
    assert_eq!(operation["state"], "succeeded", "{operation:#}");
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_decommission_that_aws_refuses_says_so_and_works_when_sent_again() {
    let world = World::start().await;
    world.chat(&with(world.cloud_local_request("deploy"), "keep_target", true)).await;
    world.failpoints.fail("terraform-destroy", "UnauthorizedOperation");
    world.aws.refuse("TerminateInstances", "UnauthorizedOperation");

    let refused = world.chat(&world.cloud_local_request("decommission")).await;
    world.aws.allow("TerminateInstances");
    // Terraform still may not: what it knows is removed by its tag, and stays known.
    let again = world.chat(&world.cloud_local_request("decommission")).await;
    let (instances, states) = (world.aws.things(), world.terraform_states().await);
    world.failpoints.heal("terraform-destroy");
    let at_last = world.chat(&world.cloud_local_request("decommission")).await;

    for answer in [refused, again] {
        assert_eq!(answer.state(), "failed", "{}", answer.text());
        assert!(answer.text().contains("UnauthorizedOperation"), "{}", answer.text());
    }
    assert_eq!((instances, states), (NOTHING, 1));
    assert_eq!(at_last.state(), "succeeded", "{}", at_last.text());
    assert_eq!(world.terraform_states().await, 0);
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn an_undo_that_is_not_allowed_is_stuck_and_goes_on_when_it_is() {
    let world = World::with(&[("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]).await;
    world.failpoints.hold("ssh");
    let body = world.cloud_local_request("deploy");
    let _answer = world.begin(&body);
    world.failpoints.reached("ssh").await;
    world.aws.refuse("DescribeSecurityGroups", "UnauthorizedOperation");

    world.failpoints.release("ssh");
    let operation = world.latest().await;
    let stuck = world.ended(&operation).await;
    world.aws.allow("DescribeSecurityGroups");
    world.post(&format!("/v1/operations/{operation}/resume")).await;

    assert_eq!((&stuck["state"], &stuck["error"]["code"]), (&json!("stuck"), &json!("aws_unauthorized")), "{stuck:#}");
    eventually("everything to be taken back", async || world.aws.things().is_empty()).await;
    assert_eq!(world.ended(&operation).await["state"], "undone");
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn credentials_of_two_requests_do_not_mix_and_are_nowhere_in_clear() {
    let world = World::start().await;
    let mut other = with(world.cloud_local_request("deploy"), "instance_id", "other-box");
    other["aws_credentials"]["aws_secret_access_key"] = json!("another-secret-another-secret");
    let one = world.cloud_local_request("deploy");

    let (first, second) = tokio::join!(world.chat(&one), world.chat(&other));

    assert_eq!((first.state(), second.state()), ("undone", "undone"));
    // One target and the checksum of the secret that its calls had, each.
    let keys: BTreeSet<String> = world.calls("terraform-keys").into_iter().collect();
    let checksums: BTreeSet<&str> = keys.iter().filter_map(|it| it.split_once(' ')).map(|it| it.1).collect();
    assert_eq!((keys.len(), checksums.len()), (2, 2), "{keys:?}");
    let mut said = world.server.log();
    for answer in [&first, &second] {
        said += &json!([answer.body, world.events(&answer.operation()).await]).to_string();
    }
    said.push_str(&world.calls("terraform").concat());
    for secret in [SECRET_KEY, "another-secret-another-secret", ACCESS_KEY] {
        assert!(!said.contains(secret), "{secret} is shown");
        assert_eq!(world.files_with(secret), NOTHING);
    }
}

#[tokio::test]
async fn an_application_lives_on_an_instance() {
    let world = World::on_instance().await;

    let deployed = world.chat(&world.request_for("deploy")).await;

    assert_eq!(deployed.state(), "succeeded", "{}", deployed.text());
    assert_eq!(deployed.body["deployment"]["public_ip"], "127.0.0.1");
    assert_eq!(world.kube.object("deployments", "team", "notes")["spec"]["replicas"], 1);
    let same = world.chat(&world.request_for("redeploy")).await;
    assert!(same.text().contains("Nothing was built"), "{}", same.text());
    let gone = world.chat(&world.request_for("decommission")).await;
    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    assert_eq!(world.aws.things(), NOTHING);
}

#[tokio::test]
async fn an_instance_that_nobody_named_has_the_same_name_each_time() {
    let world = World::on_instance().await;
    let nameless = |action: &str| {
        let mut body = world.request_for(action);
        body.as_object_mut().unwrap().retain(|field, _| !["instance_id", "instance_name"].contains(&&**field));
        body
    };
    let body = nameless("deploy");

    let plans = [0, 1].map(|_| with(body.clone(), "dry_run", true));
    let first = world.chat(&plans[0]).await;
    let again = world.chat(&plans[1]).await;
    let deployed = world.chat(&body).await;

    let name = deployed.body["deployment"]["instance_id"].as_str().unwrap();
    assert!(name.starts_with("appcl-notes-"), "{name}");
    assert_eq!(first.text(), again.text());
    world.chat(&with(nameless("decommission"), "instance_id", name)).await;
    let anew = world.chat(&body).await;
    assert_eq!(anew.body["deployment"]["instance_id"], name);
}

#[tokio::test]
async fn a_quota_that_leaves_no_room_is_told_before_anything_is_made() {
    let world = World::start().await;
    world.aws.allow_vcpus(1);

    let refused = world.chat(&world.cloud_local_request("deploy")).await;

    let text = refused.text();
    assert!(text.contains("A `t3.medium` takes 2 vCPUs, and the account's quota in eu-central-1 leaves 1"), "{text}");
    assert_eq!(world.ended(&refused.operation()).await["error"]["code"], "aws_quota_reached");
    assert_eq!(world.calls("terraform"), NOTHING);
}

/// A deploy that names the instance by `instance_name`, as a request without `instance_id` does.
fn named(world: &World, name: &str) -> Value {
    let mut body = with(world.cloud_local_request("deploy"), "instance_name", name);
    body.as_object_mut().unwrap().remove("instance_id");
    body
}

/// The same of another repository.
fn of_another(world: &World, name: &str) -> Value {
    with(named(world, name), "github_repo_url", world.repository("diary"))
}

fn names(answer: &Answer) -> (&str, &str) {
    let name = |field: &str| answer.body["deployment"][field].as_str().unwrap_or_else(|| panic!("{answer:?}"));
    (name("instance_id"), name("instance_name"))
}

#[tokio::test]
async fn the_name_of_the_application_is_the_new_instances_too() {
    let world = World::on_instance().await;

    let plan = world.chat(&with(named(&world, "my-test-ec2-instance"), "dry_run", true)).await;
    let deployed = world.chat(&named(&world, "my-test-ec2-instance")).await;
    let again = world.chat(&named(&world, "my-test-ec2-instance")).await;

    assert!(plan.text().contains("`my-test-ec2-instance`"), "{}", plan.text());
    assert_eq!(deployed.state(), "succeeded", "{}", deployed.text());
    assert_eq!(names(&deployed), ("my-test-ec2-instance", "my-test-ec2-instance"));
    assert_eq!(again.body["deployment"]["id"], deployed.body["deployment"]["id"]);
    assert_eq!(world.count("made", "instance"), 1);
    let status = with(named(&world, "my-test-ec2-instance"), "action", "status");
    assert!(world.chat(&status).await.text().contains("is running"));
}

#[tokio::test]
async fn a_deployment_of_that_name_is_found_whatever_its_instance_is_called() {
    let world = World::on_instance().await;
    world.deployed().await;

    let again = world.chat(&named(&world, "notes")).await;

    assert_eq!(again.state(), "succeeded", "{}", again.text());
    assert_eq!(names(&again), ("box", "notes"));
    assert_eq!(world.count("made", "instance"), 1);
}

#[tokio::test]
async fn the_name_of_an_instance_of_ours_leads_onto_it() {
    let world = World::on_instance().await;
    world.commit("diary", "Dockerfile", "FROM base:1\nEXPOSE 8080\nCMD [\"app\"]\n").await;
    world.deployed().await;

    let onto = world.chat(&of_another(&world, "box")).await;
    let elsewhere = world.chat(&with(named(&world, "box"), "target_namespace", "other")).await;

    // No application has that name there, in either namespace.
    assert_eq!((onto.state(), names(&onto)), ("succeeded", ("box", "box")), "{}", onto.text());
    assert_eq!((elsewhere.state(), names(&elsewhere)), ("succeeded", ("box", "box")), "{}", elsewhere.text());
    assert_eq!(world.count("made", "instance"), 1);
}

#[tokio::test]
async fn a_name_that_is_taken_on_the_instance_is_generated_and_found_again() {
    let world = World::on_instance().await;
    world.commit("diary", "Dockerfile", "FROM base:1\nEXPOSE 8080\nCMD [\"app\"]\n").await;
    world.chat(&named(&world, "box")).await;

    let first = world.chat(&of_another(&world, "box")).await;
    let again = world.chat(&of_another(&world, "box")).await;
    let mut status = with(of_another(&world, "box"), "action", "status");
    status.as_object_mut().unwrap().remove("instance_name");
    status["instance_id"] = json!("box");
    let explicit = world.chat(&with(of_another(&world, "box"), "instance_id", "box")).await;

    assert_eq!(first.state(), "succeeded", "{}", first.text());
    let (instance, name) = names(&first);
    assert!(instance == "box" && name.starts_with("appapp-diary-"), "{instance} {name}");
    assert_eq!(names(&again), ("box", name));
    assert!(world.chat(&status).await.text().contains(name));
    // Who names both means both.
    assert_eq!((explicit.status, &explicit.body["error"]["param"]), (409, &json!("instance_name")));
    assert_eq!(world.count("made", "instance"), 1);
}

#[tokio::test]
async fn an_instance_of_somebody_elses_with_that_name_is_refused_before_anything_is_made() {
    let world = World::on_instance().await;
    world.aws.add_stranger("theirs", None);
    world.aws.add_stranger("of-another-server", Some("tgt_01890a5d5f2e7c3b8d4f6a7b8c9d0e1f"));

    let by_name = world.chat(&named(&world, "theirs")).await;
    let planned = world.chat(&with(named(&world, "theirs"), "dry_run", true)).await;
    let by_id = world.chat(&with(named(&world, "notes"), "instance_id", "theirs")).await;
    let of_server = world.chat(&named(&world, "of-another-server")).await;

    for (refused, param) in [(&by_name, "instance_name"), (&planned, "instance_name"), (&by_id, "instance_id")] {
        assert_eq!((refused.status, &refused.body["error"]["param"]), (409, &json!(param)), "{refused:?}");
        assert!(refused.body["error"]["message"].as_str().unwrap().contains("`i-of-theirs`"), "{refused:?}");
    }
    assert_eq!(of_server.status, 409);
    assert!(of_server.body["error"]["message"].as_str().unwrap().contains("takes it over"), "{of_server:?}");
    assert_eq!(world.calls("terraform"), NOTHING);
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_name_that_no_application_or_no_instance_can_have_is_told_with_its_rule() {
    let world = World::start().await;
    let rules =
        [("instance_name", "My Test_Instance", "starts with a letter"), ("instance_id", "a b", "an instance id")];

    for (field, name, rule) in rules {
        let refused = world.chat(&with(named(&world, "notes"), field, name)).await;

        assert_eq!((refused.status, refused.code()), (400, "invalid_value"), "{refused:?}");
        assert_eq!(refused.body["error"]["param"], field);
        assert!(refused.body["error"]["message"].as_str().unwrap().contains(rule), "{refused:?}");
    }
}
