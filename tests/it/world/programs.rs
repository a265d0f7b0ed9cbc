//! Programs on disk: a `kind` whose clusters are folders, and the real git behind a point.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Writes the programs; gives the paths of git and kind.
pub(super) fn install(world: &Path) -> (PathBuf, PathBuf) {
    let git = which("git");
    (script(world, "git", &GIT.replace("@GIT@", &git.to_string_lossy())), script(world, "kind", KIND))
}

fn script(world: &Path, name: &str, text: &str) -> PathBuf {
    let path = world.join("bin").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = format!("#!/bin/sh\nworld='{}'\n{POINT}{text}", world.display());
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|it| it.exists()).expect("git is installed")
}

const POINT: &str = r#"
point() {
  while [ -e "$world/gates/$1.hold" ]; do : >"$world/gates/$1.reached"; sleep 0.02; done
  for once in "$world/gates/$1".once.*; do
    [ -e "$once" ] && { cat "$once" >&2; rm "$once"; return 1; }
  done
  [ -e "$world/gates/$1.fail" ] && { cat "$world/gates/$1.fail" >&2; return 1; }
  return 0
}
"#;

const GIT: &str = r#"
echo "$*" >>"$world/git.calls"
case "$1" in ls-remote | fetch | checkout) point "git-$1" || exit 128 ;; esac
exec '@GIT@' "$@"
"#;

const KIND: &str = r#"
echo "$*" >>"$world/kind.calls"
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
    point kind-create || { rm -r "$cluster"; exit 1; }
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
