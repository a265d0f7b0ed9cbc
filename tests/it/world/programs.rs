//! Programs on disk: a `kind` whose clusters are folders, and the real git behind a point.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The programs of a world.
pub(super) struct Programs {
    pub(super) git: PathBuf,
    pub(super) kind: PathBuf,
    pub(super) terraform: PathBuf,
    pub(super) ssh: PathBuf,
    pub(super) helm: PathBuf,
}

/// Writes the programs.
pub(super) fn install(world: &Path) -> Programs {
    let git = which("git");
    install_there(world);
    Programs {
        git: script(world, "git", &GIT.replace("@GIT@", &git.to_string_lossy())),
        kind: script(world, "kind", KIND),
        terraform: script(world, "terraform", TERRAFORM),
        ssh: python(world, "ssh", SSH),
        helm: python(world, "helm", HELM),
    }
}

/// Programs that only the machine behind ssh has.
fn install_there(world: &Path) {
    script(world, "there/bash", BASH);
    script(world, "there/docker", DOCKER);
}

/// Installs a builder of images without a Dockerfile.
pub(super) fn install_builder(world: &Path, name: &str) {
    python(world, name, BUILDER);
}

fn script(world: &Path, name: &str, text: &str) -> PathBuf {
    written(world, name, &format!("#!/bin/sh\nworld='{}'\n{POINT}{text}", world.display()))
}

fn python(world: &Path, name: &str, text: &str) -> PathBuf {
    let text = format!("{RECORD}\n{text}").replace("@WORLD@", &world.to_string_lossy()).replace("@NAME@", name);
    written(world, name, &format!("#!{} -IS\n{text}", PYTHON.display()))
}

fn written(world: &Path, name: &str, text: &str) -> PathBuf {
    let path = world.join("bin").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|it| it.exists()).expect("git is installed")
}

/// The interpreter itself: what `PATH` names may be a script of a version manager, which takes longer than the program.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "it is asked where it is, once")]
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable, end='')"]).output();
    String::from_utf8(asked.expect("python3 is installed").stdout).unwrap().into()
});

const POINT: &str = r#"
# A program writes down its environment where a story has made a folder for that.
[ ! -d "$world/environments" ] || env >>"$world/environments/${0##*/}"
point() {
  while [ -e "$world/failpoints/$1.hold" ]; do : >"$world/failpoints/$1.reached"; sleep 0.02; done
  for once in "$world/failpoints/$1".once.*; do
    [ -e "$once" ] && { cat "$once" >&2; rm "$once"; return 1; }
  done
  [ -e "$world/failpoints/$1.fail" ] && { cat "$world/failpoints/$1.fail" >&2; return 1; }
  return 0
}
"#;

/// The same for a program in Python.
const RECORD: &str = r#"
import os

if os.path.isdir("@WORLD@/environments"):
    with open("@WORLD@/environments/@NAME@", "a") as record:
        record.writelines(f"{name}={value}\n" for name, value in os.environ.items())
"#;

/// `pack build IMAGE ...` and `railpack build --name IMAGE ...`: they print as those do, leave an image in Docker, and `pack` a
/// volume for each cache. A story that orders it has them fail.
const BUILDER: &str = r#"
import glob, socket, sys, time

world, name, arguments = "@WORLD@", "@NAME@", sys.argv[1:]
with open(f"{world}/{name}.calls", "a") as calls:
    calls.write(" ".join(arguments) + "\n")
image = arguments[1] if name == "pack" else arguments[arguments.index("--name") + 1]
print("===> DETECTING" if name == "pack" else "Railpack 0.9.0", flush=True)
while glob.glob(f"{world}/failpoints/{name}.hold"):
    open(f"{world}/failpoints/{name}.reached", "w").close()
    time.sleep(0.02)
for failure in glob.glob(f"{world}/failpoints/{name}.fail"):
    print("===> BUILDING\n[builder] the lock file does not fit\nERROR: failed to build: exit status 1", flush=True)
    sys.exit(1)
if name == "pack":
    os.makedirs(f"{world}/volumes", exist_ok=True)
    for option in arguments[arguments.index("--cache") + 1].split(";"):
        if option.startswith("name="):
            open(f"{world}/volumes/{option[5:]}", "w").close()
with socket.socket(socket.AF_UNIX) as docker:
    docker.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))
    docker.sendall(f"POST /build?t={image} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
    while docker.recv(4096):
        pass
print(f"Successfully built image {image}", flush=True)
"#;

const GIT: &str = r#"
echo "$*" >>"$world/git.calls"
case "$1" in ls-remote | fetch | checkout) point "git-$1" || exit 128 ;; esac
# A host of the web has the same repositories.
exec '@GIT@' -c protocol.file.allow=always -c "url.file://$world/repositories/.insteadOf=https://git.example.test/team/" "$@"
"#;

const KIND: &str = r#"
echo "$*" >>"$world/kind.calls"
call="$1 $2"
trap 'echo "$call" >>"$world/kind-interrupted.calls"; exit 130' INT
case "$1 $2" in
  "version --quiet") echo 0.30.0 ;;
  "get clusters") ls "$world/clusters" ;;
  "get kubeconfig")
    [ -d "$world/clusters/$4" ] || { echo "ERROR: could not locate any control plane nodes for cluster named '$4'." >&2; exit 1; }
    cat "$world/kubeconfig" ;;
  "create cluster")
    cluster="$world/clusters/$4"
    mkdir "$cluster" || { echo "ERROR: node(s) already exist for a cluster with the name \"$4\"" >&2; exit 1; }
    mkdir "$cluster/images"
    echo "$$-$(date +%N)" >"$cluster/id"
    echo " • Preparing nodes 📦  ..." >&2
    # The node ports here; those of an instance are its own.
    grep -q '"listenAddress": "127.0.0.1"' "$8" && {
      sed -n 's/.*"hostPort": \([0-9]*\).*/\1/p' "$8" >"$cluster/ports.new"
      held=$(cat "$world/clusters"/*/ports "$world/held-ports" 2>/dev/null | grep -xFf "$cluster/ports.new" | head -n 1)
      mv "$cluster/ports.new" "$cluster/ports"
      [ -z "$held" ] || {
        echo "docker: Error response from daemon: failed to bind host port for 127.0.0.1:$held:172.18.0.2:$held/tcp: address already in use." >&2
        rm -r "$cluster"; exit 1
      }
    }
    point kind-create || {
      # Without Docker the node stays where it is.
      [ ! -S "$world/docker.sock" ] || rm -r "$cluster"
      exit 1
    }
    : >"$cluster/ready" ;;
  "delete cluster")
    point kind-delete || exit 1
    rm -rf "$world/clusters/$4" ;;
  "load docker-image")
    point kind-load || exit 1
    echo "$3" >"$world/clusters/$5/images/$(echo "$3" | tr / _)" ;;
  *) echo "unknown: $*" >&2; exit 1 ;;
esac
"#;

/// What it makes are files in `cloud`, with the target that they belong to; its state is a list of their ids, in the folder or
/// where the backend says. One
/// `DIAGNOSTIC` is printed for a failure that a story orders at a point: `terraform-<command>`, or the same with the
/// module's name behind it.
const TERRAFORM: &str = r#"
echo "$*" >>"$world/terraform.calls"
fail() { printf '{"type":"diagnostic","diagnostic":{"severity":"error","summary":"%s","detail":""}}\n' "$1"; exit 1; }
value() { sed -n "s/.*\"$1\": \"\(.*\)\".*/\1/p" terraform.tfvars.json 2>/dev/null; }
case "$(cat terraform.tfvars.json 2>/dev/null)" in
  *'"keep_images"'*) module=ecr ;;
  *'"vpc_cidr"'*) module=cluster ;;
  *'"balancer_name"'*) module=alias ;;
  *'"zone_id"'*) module=certificate ;;
  *) module=instance ;;
esac
at() {
  why=$(point "$1" 2>&1) || fail "$why"
  why=$(point "$1-$module" 2>&1) || fail "$why"
}
hook() { printf '{"type":"%s","hook":{"resource":{"addr":"%s","resource_type":"%s"},"action":"%s"}}\n' "$1" "$2" "$2" "$3"; }
target=$(value on-demand-infra:target)
# A backend in PostgreSQL is a folder outside of the workspace; it locks the state while a call works.
state=$PWD/state
schema=$(sed -n 's/.*"schema_name":"\([^"]*\)".*/\1/p' backend.tf.json 2>/dev/null)
[ -z "$schema" ] || { mkdir -p "$world/schemas" "$world/locks"; state=$world/schemas/$schema; }
lock() {
  [ -n "$schema" ] || return 0
  exec 8>"$world/locks/$schema"
  flock -n 8 || { echo '{"type":"state_lock_acquire"}'; flock -w "${1%s}" 8 || fail "Error acquiring the state lock"; }
}
has() { grep -q "^$1" "$state"; }
# Something that takes no time, and is in the state at once.
# Terraform ends what it is making after an interrupt, and writes it down.
make() { has "$1" || { trap '' INT; echo "${2:-$target}" >"$world/cloud/$1"; echo "$1" >>"$state"; trap - INT; }; }
# What the module is there for; the state is written last: a kill there leaves something that it does not know.
make_main() { # ID WHAT [CONTENT]
  hook apply_start "$2" create
  at terraform-apply
  has "$1" && return
  trap '' INT
  echo "${3:-$target}" >"$world/cloud/$1"; echo "$2 $1" >>"$world/made.calls"
  if [ "$module" = cluster ]; then
    rm -f "$world/eks-deleting"
    folder=$world/clusters/$name
    mkdir -p "$folder/images"; echo 2 >"$folder/nodes"; echo $$ >"$folder/id"; : >"$folder/ready"
  fi
  at terraform-state
  echo "$1" >>"$state"
  trap - INT
}
name=$(value name)
in_file() { echo "$1" | tr / %; }
for word; do case $word in -lock-timeout=*) lock "${word#*=}" ;; esac; done
case "$1" in
  plan | destroy) [ -e terraform.tfvars.json ] || fail "No value for required variable" ;;
  apply) [ -e next.tfplan ] || fail "Failed to load \"next.tfplan\" as a plan file" ;;
esac
[ -z "$target" ] || echo "$target $(printf %s "$AWS_SECRET_ACCESS_KEY" | cksum)" >>"$world/terraform-keys.calls"
case "$1" in
  version) echo '{"terraform_version": "1.11.4"}' ;;
  init) at terraform-init; mkdir -p .terraform ;;
  validate) echo '{"valid": true, "diagnostics": []}' ;;
  plan) at terraform-plan; : >next.tfplan ;;
  apply)
    touch "$state"
    # What somebody removed is not in the state any more once it was looked at.
    for id in $(cat "$state"); do [ -e "$world/cloud/$id" ] || sed -i "/^$id\$/d" "$state"; done
    case $module in
      instance) has sg- || make sg-$$; has i- || make_main i-$$ instance ;;
      ecr) make_main "repo-$(in_file "$name")" repository ;;
      cluster) has vpc- || make vpc-$$; make_main "eks-$name" cluster ;;
      certificate) make_main "cert-$(value host)" certificate ;;
      alias) make_main "alias-$(value host)" alias "$(value balancer_name)" ;;
    esac ;;
  destroy)
    at terraform-destroy
    # With the keys of another account it finds nothing of it there, and forgets it.
    [ "$AWS_ACCESS_KEY_ID" != AKIAOTHEROTHEROTHERO ] || { rm -f state; exit 0; }
    # The last one made goes first.
    for id in $(tac "$state" 2>/dev/null); do
      # What is being removed is removed in spite of an interrupt.
      trap '' INT
      case $id in
        # What was on an instance goes with it.
        i-*) rm -rf "$world/clusters"/* "$world/there"; : >"$world/instance-gone" ;;
        # EKS knows it for a while after its API is gone.
        eks-*) : >"$world/eks-deleting"; rm -rf "$world/clusters"/* ;;
        vpc-*) ! ls "$world/cloud" | grep -q ^nlb- || fail "DependencyViolation: the vpc has dependencies" ;;
        repo-*) rm -rf "$world/registry/${id#repo-}" ;;
      esac
      rm -f "$world/cloud/$id"
      trap - INT
    done
    rm -f "$state" ;;
  output)
    case $module in
      instance) printf '{"instance_id": {"value": "%s"}}\n' "$(grep i- "$state")" ;;
      ecr) printf '{"repository_url": {"value": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/%s"}}\n' "$name" ;;
      certificate)
        printf '{"certificate_arn": {"value": "arn:aws:acm:eu-central-1:111122223333:certificate/%s"}}\n' "$(value host)" ;;
      *) echo '{}' ;;
    esac ;;
  state)
    [ -e "$state" ] || exit 0
    printf '{"resources": ['
    comma=
    for id in $(cat "$state"); do printf '%s{"mode": "managed", "instances": [{"attributes": {"id": "%s"}}]}' "$comma" "${id#eks-}"; comma=,; done
    printf ']}\n' ;;
  *) echo "unknown: $*" >&2; exit 1 ;;
esac
"#;

/// Charts on the fake cluster.
const HELM: &str = include_str!("helm.py");

/// A machine that is reached by ssh: this one, with a home and programs of its own.
const SSH: &str = include_str!("ssh.py");

/// Nothing has to be installed there.
const BASH: &str = r#"
point bootstrap || exit 1
echo "=> everything is there" >&2
"#;

/// Docker's client there, for the builds and loads that programs there do.
const DOCKER: &str = r#"
api="curl -sS --unix-socket $world/docker.sock"
case "$1" in
  version) echo 18.06.0 ;;
  build)
    shift; labels= args= target= platform=
    while [ $# -gt 1 ]; do
      case "$1" in
        -t) tag=$2; shift ;;
        -f) shift ;;
        --label) labels="$labels${labels:+,}\"${2%%=*}\":\"${2#*=}\""; shift ;;
        --build-arg) args="$args${args:+,}\"${2%%=*}\":\"${2#*=}\""; shift ;;
        --target) target=$2; shift ;;
        --platform) platform=$2; shift ;;
        --secret)
          variable=${2##*env=}
          eval "printf '%s\n' \"$2: \$$variable\"" >>"$world/build-secrets"; shift ;;
      esac
      shift
    done
    said=$(if [ "$1" = - ]; then cat; else tar -c -C "$1" .; fi |
      $api -X POST -T - --url-query "t=$tag" --url-query "labels={$labels}" --url-query "buildargs={$args}" \
        --url-query "target=$target" --url-query "platform=$platform" "http://docker/build") || exit 1
    case "$said" in *'"error"'*) printf '%s\n' "$said" | sed -n 's/.*"error":"\(.*\)","errorDetail.*/\1/p' >&2; exit 1 ;; esac ;;
  save) $api "http://docker/images/$2/get" ;;
  exec)
    name=$(sed 's/^archive of //')
    cluster=${3%-control-plane}
    [ -n "$name" ] && [ -d "$world/clusters/$cluster" ] || { echo "unexpected EOF" >&2; exit 1; }
    point docker-import || exit 1
    printf %s "$name" >"$world/clusters/$cluster/images/$(echo "$name" | tr / _)" ;;
  *) echo "unknown: $*" >&2; exit 1 ;;
esac
"#;
