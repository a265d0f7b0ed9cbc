//! An undo fails at each step that works in AWS. Whoever resumes it with credentials of another account is refused, and
//! nothing is forgotten; with the right ones nothing is left.

use serde_json::{Value, json};

use super::{Ec2, Eks, EksWithDomain, TargetKind, begin, each};
use crate::plans::Plan::Deploy;
use crate::world::aws::{ACCOUNT, OTHER_ACCESS_KEY, OTHER_ACCOUNT, SECRET_KEY};
use crate::world::{World, eventually};

/// An undo that fails.
#[derive(Debug, Clone, Copy)]
struct StuckUndo {
    step: &'static str,
    target_kind: TargetKind,
    /// Points and actions of AWS that fail until they are healed, with what makes the deploy itself fail.
    points: &'static [&'static str],
    refused: &'static str,
}

const STUCK_UNDOS: [StuckUndo; 7] = [
    // The instance is half made: its group is there, and on no record but that of Terraform's workspace.
    StuckUndo {
        step: "provision_instance",
        target_kind: Ec2,
        points: &["terraform-apply", "terraform-destroy"],
        refused: "DeleteSecurityGroup",
    },
    StuckUndo {
        step: "provision_instance",
        target_kind: Ec2,
        points: &["bootstrap", "terraform-destroy"],
        refused: "TerminateInstances",
    },
    StuckUndo {
        step: "provision_repository",
        target_kind: Eks,
        points: &["kube-patch-deployments", "terraform-destroy-ecr"],
        refused: "DeleteRepository",
    },
    StuckUndo {
        step: "provision_cluster",
        target_kind: Eks,
        points: &["kube-patch-deployments", "terraform-destroy-cluster"],
        refused: "DeleteCluster",
    },
    StuckUndo {
        step: "request_certificate",
        target_kind: EksWithDomain,
        points: &["terraform-apply-alias", "terraform-destroy-certificate"],
        refused: "DeleteCertificate",
    },
    StuckUndo {
        step: "install_ingress",
        target_kind: EksWithDomain,
        points: &["terraform-apply-alias", "helm-uninstall"],
        refused: "",
    },
    StuckUndo {
        step: "create_alias",
        target_kind: EksWithDomain,
        points: &["kube-patch-ingresses", "terraform-destroy-alias"],
        refused: "ChangeResourceRecordSets",
    },
];

impl StuckUndo {
    /// A deploy that fails and cannot be taken back; gives its operation.
    async fn stuck(self, world: &World) -> String {
        for point in self.points {
            world.failpoints.fail(point, "AccessDenied: not authorized, ordered by the story");
        }
        world.aws.refuse(self.refused, "UnauthorizedOperation");
        if self.step == "create_alias" {
            world.failpoints.hold(self.points[0]);
        }
        let operation = begin(Deploy, world).await;
        if self.step == "create_alias" {
            eventually("the alias to be there", async || {
                world.steps(&operation).await.contains(&"create_alias succeeded".to_owned())
            })
            .await;
            world.failpoints.release(self.points[0]);
        }
        let ended = world.ended(&operation).await;
        assert_eq!(ended["state"], "stuck", "{self:?}: {ended:#}");
        let steps = world.steps(&operation).await;
        assert!(steps.contains(&format!("{} undo_failed", self.step)), "{self:?}: {steps:?}");
        operation
    }

    fn heal(self, world: &World) {
        for point in self.points {
            world.failpoints.heal(point);
        }
        world.aws.allow(self.refused);
    }
}

/// Credentials of another account.
pub(crate) fn of_another() -> Value {
    json!({"aws_credentials": {"aws_access_key_id": OTHER_ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}})
}

/// All that is on record of what an operation has made.
async fn on_record(world: &World) -> Vec<String> {
    let mut rows =
        world.texts("SELECT name || made_here || COALESCE(instance, '') || COALESCE(cluster, '') FROM targets").await;
    rows.extend(world.texts("SELECT owner || module || variables FROM terraform_workspaces ORDER BY module").await);
    rows.extend(world.texts("SELECT operation_id || name || sealed FROM secrets ORDER BY name").await);
    rows.extend(world.texts("SELECT event FROM saga_log ORDER BY position").await);
    rows.extend(world.texts("SELECT step || ' ' || phase || ' ' || attempt FROM operation_steps ORDER BY step").await);
    rows
}

async fn resumes_with_the_wrong_account(case: StuckUndo) {
    let world = Deploy.world(case.target_kind).await;
    let operation = case.stuck(&world).await;
    case.heal(&world);
    let before = (world.aws.things(), on_record(&world).await);
    assert!(!before.0.is_empty(), "{case:?}");

    let refused = world.resume(&operation, &of_another()).await;

    let message = refused.body["error"]["message"].as_str().unwrap_or_default();
    assert_eq!((refused.status, refused.code()), (409, "conflict"), "{case:?}: {refused:?}");
    assert!(message.contains(ACCOUNT) && message.contains(OTHER_ACCOUNT), "{case:?}: {message}");
    assert_eq!(refused.body["error"]["param"], "aws_credentials");
    assert_eq!(world.ended(&operation).await["state"], "stuck", "{case:?}");
    assert_eq!((world.aws.things(), on_record(&world).await), before, "{case:?}");

    let own = json!({"aws_credentials": world.request_for("deploy")["aws_credentials"]});
    let resumed = world.resume(&operation, &own).await;

    assert_eq!(resumed.status, 200, "{case:?}: {resumed:?}");
    assert_eq!(world.ended(&operation).await["state"], "undone", "{case:?}");
    assert_eq!(world.leftovers().await, Vec::<String>::new(), "{case:?}");
}

#[tokio::test]
async fn an_undo_in_aws_is_resumed_with_credentials_of_its_account_alone() {
    each(STUCK_UNDOS, resumes_with_the_wrong_account).await;
}

/// The request's secrets are lost and the server's own credentials are of another account: each undo refuses by itself.
async fn undone_with_keys_of_another_account(case: StuckUndo) {
    let mut world = Deploy.world(case.target_kind).await;
    let operation = case.stuck(&world).await;
    world.server.kill().await;
    case.heal(&world);
    world.change("DELETE FROM secrets").await;
    // Its undo goes on at the start, as if it had been killed in the middle of it.
    world.change("DELETE FROM saga_log WHERE event LIKE '%undo_failed%'").await;
    world.change(&format!("UPDATE operations SET state = 'running', ended_ms = NULL WHERE id = '{operation}'")).await;
    let before = (world.aws.things(), world.texts("SELECT owner || module FROM terraform_workspaces").await);
    let keys = [
        ("AWS_ACCESS_KEY_ID", OTHER_ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_REGION", "eu-central-1"),
    ];
    world.set(&keys.map(|(name, value)| (name.to_owned(), value.to_owned())).into());

    world.start_again().await;

    let stuck = world.ended(&operation).await;
    assert_eq!(
        (&stuck["state"], &stuck["error"]["code"]),
        (&json!("stuck"), &json!("aws_other_account")),
        "{case:?}: {stuck:#}"
    );
    let now = (world.aws.things(), world.texts("SELECT owner || module FROM terraform_workspaces").await);
    assert_eq!(now, before, "{case:?}");
    let refused = world.post(&format!("/v1/operations/{operation}/resume")).await;
    let message = refused.body["error"]["message"].as_str().unwrap_or_default();
    assert_eq!(refused.status, 409, "{case:?}: {refused:?}");
    assert!(message.contains("those of this server") && message.contains(OTHER_ACCOUNT), "{case:?}: {message}");

    let own = json!({"aws_credentials": world.request_for("deploy")["aws_credentials"]});
    assert_eq!(world.resume(&operation, &own).await.status, 200, "{case:?}");
    assert_eq!(world.ended(&operation).await["state"], "undone", "{case:?}");
    assert_eq!(world.leftovers().await, Vec::<String>::new(), "{case:?}");
}

#[tokio::test]
async fn an_undo_with_credentials_of_another_account_forgets_nothing() {
    each(STUCK_UNDOS, undone_with_keys_of_another_account).await;
}
