# Sourced by the scripts of the test bed: where things are kept, and what several of them do.
export RIG_CACHE=${RIG_CACHE:-$HOME/.cache/on-demand-rig}
mkdir -p "$RIG_CACHE/bin" "$RIG_CACHE/work"; RIG_CACHE=$(cd "$RIG_CACHE" && pwd)
export PATH=$RIG_CACHE/bin:$PATH
say() { echo "rig: $*" >&2; }
die() { say "$*"; exit 1; }

# A directory for half-made things. `up` has a parent of its own for them, which it empties first, so that an interrupted run
# leaves nothing for good.
scratch() { mktemp -d -p "${RIG_WORK:-$RIG_CACHE/work}"; }

# Installs Debian packages; two scripts that run side by side take turns.
install_packages() { # PACKAGE...
  [ "$(id -u)" = 0 ] || die "missing: $*; install them as root, then try again"
  (
    flock 8
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  ) 8>"$RIG_CACHE/packages.lock"
}

# Installs a Go program under the name it is to have, in one move.
install_go() { # NAME PACKAGE@VERSION [GO-INSTALL-ARGUMENT...]
  local name=$1 package=$2 made; shift 2
  command -v go >/dev/null || die "$name is missing and there is no Go to build it with; install either, then try again"
  say "building $package"
  made=$(scratch)
  CGO_ENABLED=0 GOFLAGS=-mod=mod GOBIN=$made go install -trimpath "$@" "$package"
  mv "$made"/* "$RIG_CACHE/bin/$name"
  rmdir "$made"
}

# Whether the machine has a program of its own, apart from those that the test bed has made.
has_own() { # PROGRAM
  local path; path=$(PATH=${PATH//$RIG_CACHE\/bin:/} command -v "$1") && [ -x "$path" ]
}

# Whether public images can be pulled: tries the smallest there is.
online() {
  if [ -z "${RIG_ONLINE:-}" ]; then
    local had=no; docker image inspect hello-world:latest >/dev/null 2>&1 && had=yes
    RIG_ONLINE=no
    if timeout 20 docker pull -q hello-world:latest >/dev/null 2>&1; then
      RIG_ONLINE=yes
      [ $had = yes ] || docker image rm hello-world:latest >/dev/null
    fi
    export RIG_ONLINE
  fi
  [ "$RIG_ONLINE" = yes ]
}
