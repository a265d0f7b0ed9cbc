//! What prepares an instance, run in containers that look like one of each family: with its package manager and a
//! service manager that only note what they are asked for, and a mirror on the container's own loopback.

use std::process::Output;

use crate::bed::{bed, run};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/host/bootstrap");

const AMAZON: &str = "ID=amzn\nVERSION_ID=2023\nID_LIKE=fedora\nPRETTY_NAME=\"Amazon Linux 2023\"\n";
const UBUNTU: &str =
    "ID=ubuntu\nVERSION_ID=24.04\nID_LIKE=debian\nVERSION_CODENAME=noble\nPRETTY_NAME=\"Ubuntu 24.04 LTS\"\n";
const DEBIAN: &str = "ID=debian\nVERSION_ID=12\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n";
const OTHER: &str = "ID=alpine\nPRETTY_NAME=\"Alpine Linux\"\n";

/// Makes the container an instance without anything, then runs what the story asks for. `$1` is its os-release.
const SETUP: &str = r#"
set -e
printf '%s' "$1" >/etc/os-release
at=/usr/local/bin
cat >$at/apt-get <<'END'
#!/bin/bash
echo "${0##*/} $*" >>/asked
for package; do
  case $package in
    git) ln -sf /bin/true /usr/local/bin/git ;;
    docker | docker.io) cp /stubs/docker /usr/local/bin/docker; ln -sf /bin/true /usr/local/bin/dockerd ;;
    curl) cp /stubs/curl /usr/local/bin/curl ;;
    docker-buildx) [ "${0##*/}" = apt-get ] && touch /plugin ;;
  esac
done
END
cp $at/apt-get $at/dnf
printf '#!/bin/bash\n[ -e "/packages/$2" ]\n' >$at/apt-cache
mkdir /stubs /packages /files
cat >/stubs/docker <<'END'
#!/bin/bash
case "$*" in
  *--format*) echo 28.1.0 ;;
  "buildx version") [ -e /plugin ] || [ -x /usr/local/lib/docker/cli-plugins/docker-buildx ] ;;
  version) [ -e /running ] ;;
esac
END
cat >/stubs/curl <<'END'
#!/usr/local/bin/python3
import os, sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
out = sys.argv[sys.argv.index("-o") + 1]
try:
    open(out, "wb").write(opener.open(sys.argv[-1]).read())
except OSError as error:
    sys.exit(f"curl: (6) {error}")
END
printf '#!/bin/bash\necho "systemctl $*" >>/asked\ncase "$*" in *"--now docker") touch /running ;; is-active*) exit 3 ;; esac\n' >$at/systemctl
printf '#!/bin/bash\necho size; echo "/dev/root 0 0 ${FREE:-20000} 0%% /"\n' >$at/df
chmod 755 $at/* /stubs/*
# The releases of this test, with their own checksums instead of the real ones.
serve() { mkdir -p "/files/$(dirname "$2")"; printf '#!/bin/sh\necho %s\n' "$1" >"/files/$2"; }
serve kind github.com/kubernetes-sigs/kind/releases/download/v0.30.0/kind-linux-amd64
serve kubectl dl.k8s.io/release/v1.34.1/bin/linux/amd64/kubectl
serve buildx github.com/docker/buildx/releases/download/v0.17.1/buildx-v0.17.1.linux-amd64
sum() { sha256sum "/files/$1" | cut -d ' ' -f 1; }
sed -e "s|\[kind-amd64\]=.*|[kind-amd64]=$(sum github.com/kubernetes-sigs/kind/releases/download/v0.30.0/kind-linux-amd64)|" \
  -e "s|\[kubectl-amd64\]=.*|[kubectl-amd64]=$(sum dl.k8s.io/release/v1.34.1/bin/linux/amd64/kubectl)|" \
  -e "s|\[buildx-amd64\]=.*|[buildx-amd64]=$(sum github.com/docker/buildx/releases/download/v0.17.1/buildx-v0.17.1.linux-amd64)|" \
  /bootstrap >/mine
python3 -m http.server -d /files 8000 >/dev/null 2>&1 &
until python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8000))' 2>/dev/null; do sleep 0.1; done
touch /asked
export DOWNLOAD_MIRROR=http://127.0.0.1:8000
"#;

/// Runs commands on an instance of a family.
fn on(os_release: &str, commands: &str) -> Output {
    let _ = bed();
    let script = format!("{SETUP}\nset +e\n{commands}");
    let mount = format!("{SCRIPT}:/bootstrap:ro");
    let arguments = ["run", "--rm", "-v", &mount, "python:3.12-slim", "bash", "-c", &script, "instance", os_release];
    run("docker", &arguments)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What a first run, a look at what is there, and a second run print.
const TWICE: &str = "bash /mine && cat /asked && kind && kubectl && docker buildx version && : >/asked && echo again && \
    bash /mine && cat /asked && echo done";

#[test]
fn an_instance_of_every_family_gets_what_is_missing_once() {
    let installs = "=> installing git curl ca-certificates docker";
    for (family, manager, packages) in [
        (AMAZON, "dnf -q -y install git curl ca-certificates docker\n", installs.to_owned()),
        (UBUNTU, " --no-install-recommends install git curl ca-certificates docker.io\n", format!("{installs}.io")),
        (DEBIAN, " --no-install-recommends install git curl ca-certificates docker.io\n", format!("{installs}.io")),
    ] {
        let output = on(family, TWICE);

        let text = said(&output);
        assert!(output.status.success(), "{text}");
        assert!(text.contains(manager) && text.contains(&packages), "{text}");
        assert!(text.contains("systemctl enable -q --now docker"), "{text}");
        for told in [
            "=> starting Docker",
            "=> installing kind 0.30.0",
            "=> installing kubectl 1.34.1",
            "installing BuildKit's plugin 0.17.1",
        ] {
            assert_eq!(text.matches(told).count(), 1, "{told}: {text}");
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.ends_with("again\ndone\n"), "the second run did something: {stdout}");
    }
}

#[test]
fn a_download_with_another_checksum_is_refused() {
    let output = on(DEBIAN, "bash /bootstrap; echo status $?; ls /usr/local/bin/kind");

    let text = said(&output);
    assert!(text.contains("status 1") && text.contains("is not kind as it was released"), "{text}");
    assert!(text.contains("cannot access '/usr/local/bin/kind'"), "{text}");
}

#[test]
fn mirrors_and_a_proxy_are_used_where_they_are_set() {
    let settings =
        "export PACKAGE_MIRROR=http://mirror.test/os REGISTRY_MIRROR=http://registry.test PROXY=http://proxy.test:3128";
    let looks = "cat /asked /etc/docker/daemon.json /etc/systemd/system/docker.service.d/proxy.conf; echo; ls -l /etc/systemd/system/docker.service.d";

    let amazon = said(&on(AMAZON, &format!("{settings}; bash /mine; {looks}")));
    let ubuntu = said(&on(UBUNTU, &format!("{settings}; bash /mine; cat /tmp/tmp.*; {looks}")));

    assert!(amazon.contains("--repofrompath=mirror,http://mirror.test/os --repo=mirror install"), "{amazon}");
    assert!(ubuntu.contains("deb http://mirror.test/os noble main universe"), "{ubuntu}");
    for text in [&amazon, &ubuntu] {
        assert!(text.contains("{\"registry-mirrors\": [\"http://registry.test\"]}"), "{text}");
        assert!(text.contains("\"HTTPS_PROXY=http://proxy.test:3128\""), "{text}");
        assert!(text.contains("-rw------- 1 root root"), "others can read the proxy's address: {text}");
    }
}

#[test]
fn what_cannot_be_prepared_is_told() {
    let other = said(&on(OTHER, "bash /mine; echo status $?"));
    let full = said(&on(DEBIAN, "export FREE=200; bash /mine; echo status $?"));
    let offline = said(&on(DEBIAN, "export DOWNLOAD_MIRROR=http://127.0.0.1:9; bash /mine; echo status $?"));

    assert!(other.contains("error: `Alpine Linux` cannot be prepared; choose an image of"), "{other}");
    assert!(full.contains("error: no space left on device: 200 MB are free on /var/lib"), "{full}");
    assert!(offline.contains("error: kind cannot be downloaded") && offline.contains("status 1"), "{offline}");
    assert!(offline.contains("builds take the classic builder"), "{offline}");
}
