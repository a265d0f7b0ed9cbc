//! Stories about EKS clusters: what is looked at before, what is made, who shares it, and that nothing stays of it.

use std::fs;

use serde_json::{Value, json};

use crate::world::aws::hosted::ZONE;
use crate::world::aws::{ACCESS_KEY, SECRET_KEY};
use crate::world::{TargetKind, World, eventually, with};

const NOTHING: Vec<String> = Vec::new();

/// A deploy with a host name of its own.
fn named(world: &World, label: &str) -> Value {
    let body = with(world.cloud_hosted_request("deploy"), "base_hosted_zone_id", ZONE);
    with(with(body, "app_subdomain_label", label), "scale_replicas", 0)
}

fn things_of<'a>(things: &'a [String], kind: &str) -> Vec<&'a str> {
    things.iter().filter_map(|it| it.strip_prefix(kind)).collect()
}

#[tokio::test]
async fn all_that_is_wrong_with_an_account_comes_in_one_answer_and_nothing_is_made() {
    let world = World::on_cluster().await;
    world.aws.allow_vcpus(1);
    let mut body = named(&world, "notes");
    body["base_hosted_zone_id"] = json!("Z0UNKNOWN");

    let answer = world.chat(&body).await;

    let text = answer.text();
    assert_eq!(answer.state(), "failed", "{text}");
    assert!(
        text.contains("2 nodes of `t3.medium` take 4 vCPUs, and the account's quota in eu-central-1 leaves 1"),
        "{text}"
    );
    assert!(text.contains("there is no hosted zone `Z0UNKNOWN` in this account"), "{text}");
    assert_eq!(world.calls("terraform"), NOTHING);
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_plan_says_what_a_cluster_costs_and_makes_nothing() {
    let world = World::on_cluster().await;

    let answer = world.chat(&with(world.request_for("deploy"), "dry_run", true)).await;

    assert!(answer.text().contains("USD per hour") && answer.text().contains("per month"), "{}", answer.text());
    assert_eq!(world.aws.things(), NOTHING);
}

#[tokio::test]
async fn a_plan_says_what_a_cluster_costs_by_aws_price_list() {
    let world = World::on_cluster().await;
    for usage in [
        "AmazonEKS-Hours:perCluster",
        "BoxUsage:t3.medium",
        "EBS:VolumeUsage.gp3",
        "LoadBalancerUsage",
        "NatGateway-Hours",
        "PublicIPv4:InUseAddress",
    ] {
        world.aws.list_price(usage, "1.0");
    }

    let answer = world.chat(&with(world.request_for("deploy"), "dry_run", true)).await;

    // The control plane, 2 nodes with 20 GiB each, a balancer, a gateway, and an address for the gateway and in both zones.
    let today = jiff::Zoned::now().date();
    let expected = format!("costs about 8.055 USD per hour, 5880 USD per month (AWS' price list of {today})");
    assert!(answer.text().contains(&expected), "{}", answer.text());
    assert_eq!(world.aws.count("GetProducts"), 6);
}

#[tokio::test]
async fn an_application_lives_on_a_cluster() {
    let world = World::on_cluster().await;

    let deployed = world.deployed().await;

    let deployment = &deployed.body["deployment"];
    assert_eq!(
        deployment["app_url"].as_str().unwrap(),
        format!("http://{}", deployment["nlb_dns_name"].as_str().unwrap())
    );
    let image = deployment["image"].as_str().unwrap();
    assert!(image.starts_with("111122223333.dkr.ecr.eu-central-1.amazonaws.com/box/team/notes@sha256:"), "{image}");
    let same = world.chat(&world.request_for("redeploy")).await;
    assert!(same.text().contains("Nothing was built"), "{}", same.text());
    let kubeconfig = world.path("workspace/targets");
    let kubeconfig = fs::read_dir(kubeconfig).unwrap().next().unwrap().unwrap().path().join("kubeconfig");
    assert!(fs::read_to_string(kubeconfig).unwrap().contains("get-token"));

    let gone = world.chat(&world.request_for("decommission")).await;

    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    assert!(gone.text().contains("EKS cluster `box`") && gone.text().contains("load balancer"), "{}", gone.text());
    assert_eq!(world.leftovers().await, NOTHING);
    assert_eq!(world.clusters(), NOTHING);
}

#[tokio::test]
async fn the_last_application_takes_the_cluster_with_it_and_the_others_do_not() {
    let world = World::on_cluster().await;
    let first = world.chat(&named(&world, "notes")).await;
    let second = world.chat(&with(named(&world, "diary"), "instance_name", "diary")).await;
    let third = world.chat(&with(world.request_for("deploy"), "instance_name", "paper")).await;
    let refused = world.chat(&with(world.request_for("deploy"), "instance_name", "fourth")).await;
    assert_eq!([first.state(), second.state(), third.state()], ["succeeded"; 3], "{}", second.text());
    assert_eq!((refused.status, refused.body["error"]["param"].as_str()), (409, Some("app_subdomain_label")));
    assert_eq!(world.count("made", "cluster"), 1);

    // The first one's certificate is the one that the Service names: another one takes its place.
    let gone = world.chat(&world.request_for("decommission")).await;
    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    let things = world.aws.things();
    assert_eq!(things_of(&things, "cert-"), ["diary.apps.example.test"]);
    assert_eq!((things_of(&things, "eks-"), things_of(&things, "nlb-")), (vec!["box"], vec!["box"]));
    assert_eq!(things_of(&things, "repo-").len(), 2);

    for name in ["diary", "paper"] {
        let gone = world.chat(&with(world.request_for("decommission"), "instance_name", name)).await;
        assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    }
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_kept_cluster_stays_and_the_next_deploy_uses_it() {
    let world = World::on_cluster().await;
    world.deployed().await;

    let gone = world.chat(&with(world.request_for("decommission"), "keep_target", true)).await;

    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    let things = world.aws.things();
    assert_eq!((things_of(&things, "eks-"), things_of(&things, "repo-").len()), (vec!["box"], 0), "{things:?}");
    world.deployed().await;
    assert_eq!(world.count("made", "cluster"), 1);
    world.chat(&world.request_for("decommission")).await;
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_cluster_that_somebody_else_made_loses_only_the_application() {
    let world = World::on_cluster().await;
    let folder = world.path("clusters/box");
    fs::create_dir_all(folder.join("images")).unwrap();
    for (file, text) in [("nodes", "2"), ("id", "theirs"), ("ready", "")] {
        fs::write(folder.join(file), text).unwrap();
    }
    fs::write(world.path("cloud/eks-box"), "somebody").unwrap();
    world.deployed().await;
    assert_eq!(world.count("made", "cluster"), 0);

    let gone = world.chat(&world.request_for("decommission")).await;

    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    assert_eq!((world.aws.things(), world.clusters()), (vec!["eks-box".to_owned()], vec!["box".to_owned()]));
    assert_eq!(world.kube.objects(), NOTHING);
}

#[tokio::test]
async fn pods_that_do_not_fit_get_another_node() {
    let world = World::on_cluster().await;
    world.kube.need_nodes(3);

    let deployed = world.deployed().await;

    assert_eq!(world.aws.nodes(), Some(3), "{}", deployed.text());
}

#[tokio::test]
async fn pods_that_no_node_will_take_are_told_when_there_are_no_more_nodes() {
    let world = World::on_cluster().await;
    world.kube.need_nodes(9);

    let answer = world.chat(&world.request_for("deploy")).await;

    let operation = world.ended(&answer.operation()).await;
    assert_eq!(operation["error"]["code"], "unschedulable", "{operation:#}");
    assert!(answer.text().contains("all the nodes that it may have, 4"), "{}", answer.text());
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn nodes_that_nothing_needs_any_more_are_given_back() {
    let world = World::on_cluster().await;
    world.kube.need_nodes(4);
    world.deployed().await;
    assert_eq!(world.aws.nodes(), Some(4));
    let scale = async |replicas: u32| {
        let answer = world.chat(&with(world.request_for("scale"), "scale_replicas", replicas)).await;
        assert_eq!(answer.state(), "succeeded", "{}", answer.text());
        (world.aws.nodes().unwrap(), answer.text().to_owned())
    };

    // One that AWS does not end takes pods again.
    world.aws.refuse("TerminateInstanceInAutoScalingGroup", "AccessDenied");
    let (nodes, kept) = scale(2).await;
    assert!(nodes == 4 && kept.contains("Nodes that nothing needs may stay"), "{nodes}: {kept}");
    let is_taken = |(_, it): &(String, Value)| it["spec"]["unschedulable"] == true;
    assert!(!world.kube.nodes().iter().any(is_taken), "{:?}", world.kube.nodes());
    world.aws.allow("TerminateInstanceInAutoScalingGroup");
    // Three pods are on three nodes, each on its own.
    assert_eq!(scale(3).await.0, 3);
    // Two nodes are what the cluster began with.
    assert_eq!(scale(1).await.0, 2);
    assert_eq!(scale(0).await.0, 2);
}

#[tokio::test]
async fn a_new_cluster_has_aws_default_version_and_lets_in_whom_the_setting_names() {
    let admins = "arn:aws:iam::111122223333:role/team/deployers, arn:aws:iam::111122223333:user/it";
    let mut world = World::with(&[("EKS_ADMIN_ARNS", admins)]).await;
    world.target_kind = TargetKind::Eks;

    world.deployed().await;

    let values = variables(&world).await;
    // Whoever makes it is let in anyway.
    assert_eq!(values["admin_arns"], json!(["arn:aws:iam::111122223333:role/team/deployers"]));
    assert_eq!((&values["kubernetes_version"], &values["support_type"]), (&json!("1.35"), &json!("STANDARD")));
    assert_eq!(values["ami_type"], "AL2023_x86_64_STANDARD");
}

#[tokio::test]
async fn a_version_that_eks_does_not_make_is_refused_before_anything_is_made_and_an_old_one_costs_more() {
    let mut refused = World::with(&[("EKS_VERSION", "1.30")]).await;
    refused.target_kind = TargetKind::Eks;
    let answer = refused.chat(&refused.request_for("deploy")).await;
    let operation = refused.ended(&answer.operation()).await;
    assert_eq!(operation["error"]["code"], "eks_version_not_offered", "{}", answer.text());
    assert!(answer.text().contains("only with 1.36, 1.35, 1.33"), "{}", answer.text());
    assert_eq!(refused.leftovers().await, NOTHING);

    let mut old = World::with(&[("EKS_VERSION", "1.33")]).await;
    old.target_kind = TargetKind::Eks;
    let answer = old.deployed().await;
    assert!(answer.text().contains("six times as much"), "{}", answer.text());
    assert_eq!(variables(&old).await["support_type"], "EXTENDED");

    // Who may not ask gets what EKS chooses.
    let unasked = World::on_cluster().await;
    unasked.aws.refuse("DescribeClusterVersions", "AccessDeniedException");
    unasked.deployed().await;
    assert_eq!(variables(&unasked).await["kubernetes_version"], Value::Null);
}

#[tokio::test]
async fn credentials_that_the_cluster_does_not_let_in_are_told_who_may_and_how() {
    let world = World::on_cluster().await;
    world.deployed().await;
    world.aws.let_in("arn:aws:iam::111122223333:user/maker");
    world.failpoints.fail("kube-get-version", "Unauthorized");

    world.failpoints.fail("kube-delete-deployments", "Unauthorized");
    for action in ["redeploy", "scale", "decommission"] {
        let answer = world.chat(&with(world.request_for(action), "scale_replicas", 2)).await;
        let operation = world.ended(&answer.operation()).await;
        let error = &operation["error"];
        assert_eq!(error["code"], "cluster_access_denied", "{action}: {}", answer.text());
        assert!(answer.text().contains("does not let in arn:aws:iam::111122223333:user/it"), "{}", answer.text());
        assert!(answer.text().contains("; it lets in arn:aws:iam::111122223333:user/maker"), "{}", answer.text());
        assert!(error["next_step"].as_str().unwrap().contains("create-access-entry"), "{error:#}");
    }
}

/// The variables that the module of the cluster was given.
async fn variables(world: &World) -> Value {
    let text = world.texts("SELECT variables FROM terraform_workspaces WHERE module = 'cloud-hosted'").await.remove(0);
    serde_json::from_str(&text).unwrap()
}

/// A world whose operations wait for a certificate as soon as nobody validates it.
async fn waiting() -> (World, String) {
    let settings =
        [("CERTIFICATE_PATIENCE_S", "1"), ("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let world = World::with(&settings).await;
    world.failpoints.hold("certificate");
    let answer = world.chat(&named(&world, "notes")).await;
    let text = answer.text();
    assert_eq!(answer.state(), "waiting", "{text}");
    assert!(text.contains("the CNAME record `_it.notes.apps.example.test.`"), "{text}");
    assert!(text.contains("ns.example.test"), "{text}");
    let operation = answer.operation();
    (world, operation)
}

#[tokio::test]
async fn an_operation_that_waits_for_a_certificate_looks_again_when_it_is_resumed() {
    let (world, operation) = waiting().await;

    world.failpoints.release("certificate");
    let resumed = world.post(&format!("/v1/operations/{operation}/resume")).await;

    assert_eq!((resumed.status, &resumed.body["resumed"]), (200, &json!("check")), "{resumed:?}");
    assert_eq!(world.ended(&operation).await["state"], "succeeded");
    assert_eq!(world.get(&format!("/v1/operations/{operation}")).await.body.get("resumed"), None);
}

#[tokio::test]
async fn an_operation_that_waits_for_a_certificate_can_be_cancelled() {
    let (world, operation) = waiting().await;

    world.post(&format!("/v1/operations/{operation}/cancel")).await;

    assert_eq!(world.ended(&operation).await["state"], "cancelled");
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn an_operation_that_waits_for_a_certificate_waits_on_after_a_kill() {
    let (mut world, operation) = waiting().await;

    world.kill_and_start_again().await;
    eventually("the operation to wait again", async || {
        world.get(&format!("/v1/operations/{operation}")).await.body["state"] == "waiting"
    })
    .await;
    world.failpoints.release("certificate");
    world.post(&format!("/v1/operations/{operation}/resume")).await;

    assert_eq!(world.ended(&operation).await["state"], "succeeded");
    assert_eq!(world.count("made", "certificate"), 1);
}

#[tokio::test]
async fn the_deadline_of_an_operation_that_waits_holds_over_a_restart() {
    let (mut world, operation) = waiting().await;
    world.server.kill().await;
    let passed = "UPDATE operation_steps SET waits_until_ms = waits_until_ms - 366 * 24 * 3600000
        WHERE step = 'await_certificate'";
    world.change(passed).await;

    world.start_again().await;

    let ended = world.ended(&operation).await;
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("undone"), &json!("certificate_not_validated")));
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_certificate_that_is_not_validated_in_time_takes_the_deploy_back() {
    let world = World::with(&[("CERTIFICATE_PATIENCE_S", "1"), ("CERTIFICATE_TIMEOUT_S", "60")]).await;
    world.failpoints.hold("certificate-old");

    let answer = world.chat(&named(&world, "notes")).await;

    let operation = world.ended(&answer.operation()).await;
    assert_eq!(operation["error"]["code"], "certificate_not_validated", "{operation:#}");
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_load_balancer_that_does_not_come_takes_the_deploy_back() {
    let world = World::with(&[("LOAD_BALANCER_TIMEOUT_S", "2")]).await;
    world.failpoints.hold("balancer");

    let answer = world.chat(&world.cloud_hosted_request("deploy")).await;

    let operation = world.ended(&answer.operation()).await;
    assert_eq!(operation["error"]["code"], "load_balancer_timed_out", "{operation:#}");
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_load_balancer_that_comes_late_is_waited_for() {
    let world = World::on_cluster().await;
    world.failpoints.hold("balancer");
    let body = world.request_for("deploy");
    let answer = world.begin(&body);
    world.failpoints.reached("balancer").await;
    world.failpoints.hold("balancer-active");

    world.failpoints.release("balancer");
    world.failpoints.reached("balancer-active").await;
    world.failpoints.release("balancer-active");

    assert_eq!(answer.await.unwrap().unwrap().state(), "succeeded");
}

#[tokio::test]
async fn a_load_balancer_that_its_cluster_does_not_remove_is_removed() {
    let world = World::with(&[("LOAD_BALANCER_TIMEOUT_S", "2")]).await;
    assert_eq!(world.chat(&world.cloud_hosted_request("deploy")).await.state(), "succeeded");
    world.failpoints.hold("balancer-goes");

    let gone = world.chat(&world.cloud_hosted_request("decommission")).await;

    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_cluster_that_was_deleted_by_hand_is_no_obstacle_to_a_decommission() {
    let world = World::on_named_cluster().await;
    world.deployed().await;
    fs::remove_file(world.path("cloud/eks-box")).unwrap();
    fs::remove_dir_all(world.path("clusters/box")).unwrap();

    let gone = world.chat(&world.request_for("decommission")).await;

    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    assert_eq!(world.leftovers().await, NOTHING);
}

/// A deletion was begun, by hand or by a server that was killed meanwhile: EKS goes on, and says so for minutes.
fn begin_deletion(world: &World) {
    fs::write(world.path("eks-deleting"), "").unwrap();
    fs::remove_dir_all(world.path("clusters/box")).unwrap();
}

#[tokio::test]
async fn a_cluster_that_eks_is_still_deleting_is_no_obstacle_to_a_decommission() {
    let world = World::on_named_cluster().await;
    world.deployed().await;
    begin_deletion(&world);

    let gone = world.chat(&world.request_for("decommission")).await;

    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn a_redeploy_on_a_cluster_that_eks_is_still_deleting_says_that_it_is_gone() {
    let world = World::on_named_cluster().await;
    world.deployed().await;
    begin_deletion(&world);

    let answer = world.chat(&world.request_for("redeploy")).await;

    let operation = world.ended(&answer.operation()).await;
    assert_eq!(operation["error"]["code"], "cluster_gone", "{operation:#}");
}

#[tokio::test]
async fn a_deploy_waits_for_eks_to_delete_a_cluster_and_makes_it_anew() {
    let world = World::on_named_cluster().await;
    world.deployed().await;
    begin_deletion(&world);
    let answer = world.begin(&world.request_for("deploy"));
    eventually("it to wait for EKS", async || {
        world.get("/v1/operations?limit=1").await.body["data"][0]["steps"].to_string().contains("is DELETING")
    })
    .await;

    fs::remove_file(world.path("cloud/eks-box")).unwrap();
    fs::remove_file(world.path("eks-deleting")).unwrap();

    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(world.count("made", "cluster"), 2);
}

#[tokio::test]
async fn throttling_is_tried_again() {
    let world = World::on_cluster().await;
    world.failpoints.fail_times("terraform-apply-cluster", 1, "ThrottlingException: Rate exceeded");

    let deployed = world.deployed().await;

    let events = world.events(&deployed.operation()).await;
    assert!(events.iter().any(|it| it["type"] == "step_retrying"), "{events:?}");
    assert_eq!(world.count("made", "cluster"), 1);
}

#[tokio::test]
async fn credentials_that_expire_in_the_middle_leave_something_that_goes_on_with_new_ones() {
    let world = World::with(&[("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]).await;
    world.failpoints.hold("helm-upgrade");
    let body = world.cloud_hosted_request("deploy");
    let _answer = world.begin(&body);
    world.failpoints.reached("helm-upgrade").await;
    let actions = ["DescribeLoadBalancers", "DescribeCluster", "DescribeTags"];
    for action in actions {
        world.aws.refuse(action, "ExpiredTokenException");
    }

    world.failpoints.release("helm-upgrade");
    let operation = world.latest().await;
    let stuck = world.ended(&operation).await;
    for action in actions {
        world.aws.allow(action);
    }
    world.post(&format!("/v1/operations/{operation}/resume")).await;

    assert_eq!(
        (&stuck["state"], &stuck["error"]["code"]),
        (&json!("stuck"), &json!("aws_credentials_refused")),
        "{stuck:#}"
    );
    eventually("everything to be taken back", async || world.aws.things().is_empty()).await;
    assert_eq!(world.ended(&operation).await["state"], "undone");
    assert_eq!(world.leftovers().await, NOTHING);
}

#[tokio::test]
async fn what_a_killed_terraform_made_without_writing_it_down_is_found_by_its_tag() {
    for point in ["terraform-state-cluster", "terraform-state-ecr", "terraform-state-certificate"] {
        let mut world = World::start().await;
        world.failpoints.hold(point);
        world.failpoints.fail("terraform-apply-alias", "InvalidChangeBatch");
        let body = named(&world, "notes");
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
async fn no_secret_is_shown() {
    let world = World::on_named_cluster().await;
    let deployed = world.deployed().await;
    let gone = world.chat(&world.request_for("decommission")).await;

    let mut said = world.server.log();
    for answer in [&deployed, &gone] {
        said += &json!([answer.body, world.events(&answer.operation()).await]).to_string();
    }
    said += &[world.calls("terraform"), world.calls("helm")].concat().concat();
    for secret in [SECRET_KEY, ACCESS_KEY, "it-registry-password", "k8s-aws-v1."] {
        assert!(!said.contains(secret), "{secret} is shown");
        assert_eq!(world.files_with(secret), NOTHING);
    }
}

#[tokio::test]
async fn without_another_name_the_cluster_is_called_as_the_application_and_hosts_lie_below_the_setting() {
    let world = World::with(&[("DEFAULT_DOMAIN_NAME_FOR_APPS", "team.apps.example.test")]).await;
    let mut body = with(named(&world, "my-app"), "instance_name", "my-eks-app-deployment");
    body.as_object_mut().unwrap().remove("instance_id");

    let deployed = world.chat(&body).await;

    assert_eq!(deployed.state(), "succeeded", "{}", deployed.text());
    assert_eq!(deployed.body["deployment"]["instance_id"], "my-eks-app-deployment");
    assert_eq!(deployed.body["deployment"]["app_url"], "https://my-app.team.apps.example.test");
    let things = world.aws.things();
    assert_eq!(things_of(&things, "eks-"), ["my-eks-app-deployment"]);
    assert_eq!(things_of(&things, "cert-"), ["my-app.team.apps.example.test"]);
}

#[tokio::test]
async fn what_was_made_in_another_account_is_not_touched() {
    let world = World::on_named_cluster().await;
    world.deployed().await;
    let things = world.aws.things();
    world.change("UPDATE terraform_workspaces SET account = '999988887777' WHERE module = 'alias'").await;

    let refused = world.chat(&world.request_for("decommission")).await;
    let left = world.aws.things();
    world.change("UPDATE terraform_workspaces SET account = '111122223333'").await;
    let removed = world.chat(&world.request_for("decommission")).await;

    assert_eq!(refused.state(), "failed", "{}", refused.text());
    assert!(refused.text().contains("belongs to the account 999988887777"), "{}", refused.text());
    assert!(left.contains(&things.iter().find(|it| it.starts_with("alias-")).unwrap().clone()), "{left:?}");
    assert_eq!(removed.state(), "succeeded", "{}", removed.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}
