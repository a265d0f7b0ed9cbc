//! What every plan gets for free: each step twice, a fault in each step, a kill at each line of the log and in the middle
//! of each step. Whatever happens, the next start ends with what was wanted, or with nothing left.

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::world::TargetKind::{self, Ec2, Eks, EksWithDomain, LocalKind};
use crate::world::{World, eventually, with};

mod backups;
mod beside_unreadable;
pub(crate) mod credentials;
mod kills;
mod log_lines;
mod lost_workspace;
mod panics;
mod step_failures;

/// How many worlds of one test exist at the same time.
const AT_ONCE: usize = 3;

/// A plan, from what must be there before it to what must be there after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    Deploy,
    Redeploy,
    Scale,
    Restart,
    Rollback,
    Decommission,
}

impl Plan {
    /// A world in which the plan can begin.
    pub(crate) async fn world(self, target_kind: TargetKind) -> World {
        self.prepared(match target_kind {
            LocalKind => World::start().await,
            Ec2 => World::on_instance().await,
            Eks => World::on_cluster().await,
            EksWithDomain => World::on_named_cluster().await,
        })
        .await
    }

    /// Brings a new world to where the plan can begin.
    async fn prepared(self, world: World) -> World {
        if self != Self::Deploy {
            assert_eq!(world.chat(&deploy(&world)).await.state(), "succeeded");
        }
        if matches!(self, Self::Redeploy | Self::Rollback) {
            world.commit("notes", "new.txt", "new").await;
        }
        if self == Self::Rollback {
            assert_eq!(world.chat(&world.request_for("redeploy")).await.state(), "succeeded");
        }
        world
    }

    fn request(self, world: &World) -> Value {
        match self {
            Self::Deploy => deploy(world),
            Self::Redeploy => world.request_for("redeploy"),
            Self::Scale => with(world.request_for("scale"), "scale_replicas", 3),
            Self::Restart => world.request_for("restart"),
            Self::Rollback => world.request_for("rollback"),
            Self::Decommission if world.target_kind != LocalKind => world.request_for("decommission"),
            Self::Decommission => with(world.request_for("decommission"), "delete_cluster", true),
        }
    }

    /// Checks that all is as the plan wants it.
    async fn is_done(self, world: &World, operation: &Value) {
        assert_eq!(operation["state"], "succeeded", "{self:?}: {operation:#}");
        assert_eq!(world.unfinished_leftovers().await, Vec::<String>::new(), "{self:?}");
        if self == Self::Decommission {
            assert_eq!(world.leftovers().await, Vec::<String>::new());
            assert_eq!(world.clusters(), Vec::<String>::new());
            return;
        }
        let deployment = &operation["deployment"];
        let live = world.kube.object("deployments", "team", "notes");
        let versions = if matches!(self, Self::Redeploy | Self::Rollback) { 2 } else { 1 };
        assert_eq!(deployment["state"], "running", "{self:?}");
        assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["image"], deployment["image"]);
        let replicas = match (self, world.target_kind) {
            (Self::Scale, _) => 3,
            (_, EksWithDomain) => 0,
            (_, LocalKind | Ec2 | Eks) => 1,
        };
        assert_eq!(live["spec"]["replicas"], replicas);
        assert_eq!(live["status"]["availableReplicas"], live["spec"]["replicas"]);
        let (images, removed) = (world.docker.images(), world.docker.removed());
        assert_eq!(images.len(), versions, "{self:?}: {images:?}, without {removed:?}: {operation:#}");
        // EKS' nodes fetch from ECR.
        let on_nodes = if matches!(world.target_kind, Eks | EksWithDomain) { 0 } else { versions };
        assert_eq!(world.docker.node_images().len(), on_nodes);
        assert_eq!(world.docker.builds(), versions);
    }

    /// Checks that all is as it was before the plan began, but for a cluster of this machine, which stays when it came up.
    async fn is_undone(self, world: &World, operation: &Value, before: &Before) {
        let state = if self == Self::Deploy { "undone" } else { "failed" };
        assert_eq!(operation["state"], state, "{self:?}: {operation:#}");
        if self == Self::Deploy {
            assert_eq!(world.leftovers().await, Vec::<String>::new());
            return;
        }
        assert_eq!(world.unfinished_leftovers().await, Vec::<String>::new(), "{self:?}");
        assert_eq!(*before, Before::of(world).await, "{self:?}: {operation:#}");
    }
}

/// What a plan that is taken back has to leave as it was.
#[derive(Debug, PartialEq)]
struct Before {
    images: Vec<String>,
    node_images: Vec<String>,
    objects: Vec<String>,
    image: Value,
    replicas: Value,
    deployment: Value,
}

impl Before {
    async fn of(world: &World) -> Self {
        let live = world.kube.object("deployments", "team", "notes");
        let list = world.get("/v1/deployments").await.body;
        let mut deployment = list["data"].get(0).cloned().unwrap_or_default();
        deployment["updated_at"] = Value::Null;
        let old_sets = |it: &String| !it.starts_with("replicasets");
        Self {
            images: world.docker.images(),
            node_images: world.docker.node_images(),
            objects: world.kube.objects().into_iter().filter(old_sets).collect(),
            image: live["spec"]["template"]["spec"]["containers"][0]["image"].clone(),
            replicas: live["spec"]["replicas"].clone(),
            deployment,
        }
    }
}

fn deploy(world: &World) -> Value {
    with(world.request_for("deploy"), "environment", json!({"GREETING": "good morning"}))
}

/// Begins a plan without waiting for its answer; gives the id of its operation.
pub(crate) async fn begin(plan: Plan, world: &World) -> String {
    let count = async || world.texts("SELECT id FROM operations").await.len();
    let before = count().await;
    drop(world.begin(&plan.request(world)));
    eventually("the operation to be accepted", async || count().await > before).await;
    world.texts("SELECT id FROM operations ORDER BY id DESC LIMIT 1").await.remove(0)
}

/// Whether every case is tried (`REAL_ALL=1`), and not only a sample.
pub(crate) fn are_all_tried() -> bool {
    std::env::var("REAL_ALL").is_ok_and(|it| it == "1")
}

/// Runs a story for each case, a few at a time.
pub(crate) async fn each<T>(cases: impl IntoIterator<Item = T>, story: impl AsyncFn(T)) {
    let story = &story;
    futures_util::stream::iter(cases)
        .map(async |case| story(case).await)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>()
        .await;
}
