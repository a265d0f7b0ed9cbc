"""Checks what is rendered of the chart, and that rules and dashboard name only metrics that the server has.

usage: check.py HELM CHART VALUES-DIRECTORY
"""

import json
import pathlib
import re
import subprocess
import sys

import kubernetes_validate
import yaml

HELM, CHART, VALUES = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
# The oldest that the chart takes, the one of the test bed, the newest that is known.
VERSIONS = ["1.27.0", "1.34.0", kubernetes_validate.latest_version()]
# What is refused, and the words that say why.
REFUSED = {
    "secretSettings.API_KEYS=null": "`secretSettings.API_KEYS` is needed",
    "secretSettings.ENCRYPTION_KEY=null": "`secretSettings.ENCRYPTION_KEY` is needed",
    "persistence.enabled=false": "the store has to be in PostgreSQL",
    "docker.hostSocket.enabled=true": "`docker.hostSocket.group` is needed",
    "docker.hostSocket.enabled=true,docker.hostSocket.group=998": "needs `server.hostNetwork`",
    "docker.hostSocket.enabled=true,docker.host=tcp://a:2375": "are two daemons",
    "docker.host=tcp://a:2375,settings.DOCKER_HOST=tcp://b:2375": "take it out of `settings`",
    "docker.host=unix:///var/run/docker.sock": "docker",
    "ingress.enabled=true": "`ingress.hosts` is needed",
    "settings.ENCRYPTION_KEY=secret": "ENCRYPTION_KEY",
    "settings.PERSISTENT_WORKSPACE_BASE_DIR=/elsewhere": "PERSISTENT_WORKSPACE_BASE_DIR",
    "profile=many": "profile",
    "replicas=2": "replicas",
}
problems = []


def render(*arguments):
    command = [HELM, "template", "release", str(CHART), "--namespace", "infra", "--kube-version", "1.34", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def pods_of(thing):
    """The specification of the pod that an object has or is."""
    match thing["kind"]:
        case "Pod":
            return [(thing["metadata"]["labels"], thing["spec"])]
        case "StatefulSet" | "Deployment" | "Job":
            template = thing["spec"]["template"]
            return [(template["metadata"]["labels"], template["spec"])]
    return []


def check_pod(spec, is_local):
    yield spec["automountServiceAccountToken"] is False, "has a token of Kubernetes"
    security = spec["securityContext"]
    yield security["runAsNonRoot"] is True and security["runAsUser"] > 0, "runs as root"
    yield security["seccompProfile"]["type"] == "RuntimeDefault", "has all system calls"
    yield "shareProcessNamespace" in spec or spec.get("restartPolicy") == "Never", "nobody collects its orphans"
    host = [it["name"] for it in spec.get("volumes", []) if "hostPath" in it]
    yield is_local or not host and not spec.get("hostNetwork"), f"uses its node: {host}"
    volumes = {it["name"] for it in spec.get("volumes", [])}
    for container in spec["containers"] + spec.get("initContainers", []):
        own = container["securityContext"]
        yield own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"], "can change itself"
        yield own["capabilities"] == {"drop": ["ALL"]}, "has capabilities"
        yield "memory" in container["resources"]["limits"], "has no limit of memory"
        yield {it["name"] for it in container.get("volumeMounts", [])} <= volumes, "mounts what is not there"
        names = [it["name"] for it in container.get("env", [])]
        yield len(names) == len(set(names)), "has a variable twice"
        if container["name"] == "server":
            yield {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys(), "is not looked at"


def check(things, is_local):
    objects = {(it["kind"], it["metadata"]["name"]): it for it in things}
    yield len(objects) == len(things), "two objects have one name"
    labels = [labels for thing in things for labels, _ in pods_of(thing)]
    for thing in things:
        where = f"{thing['kind']} {thing['metadata']['name']}"
        for _, spec in pods_of(thing):
            for is_right, message in check_pod(spec, is_local):
                yield is_right, f"{where} {message}"
        spec = thing.get("spec", {})
        match thing["kind"]:
            case "StatefulSet":
                yield spec["replicas"] == 1, f"{where} has several servers"
                chosen = spec["selector"]["matchLabels"]
                yield chosen.items() <= spec["template"]["metadata"]["labels"].items(), f"{where} selects other pods"
                yield spec["template"]["spec"]["terminationGracePeriodSeconds"] >= 40, f"{where} is killed early"
            case "Service" | "NetworkPolicy":
                chosen = spec["selector"] if thing["kind"] == "Service" else spec["podSelector"]["matchLabels"]
                found = sum(chosen.items() <= it.items() for it in labels)
                yield found == 1, f"{where} selects {found} pods"
            case "Ingress":
                for rule in spec["rules"]:
                    service = rule["http"]["paths"][0]["backend"]["service"]["name"]
                    yield ("Service", service) in objects, f"{where} leads nowhere"


def rendered():
    for file in sorted(VALUES.glob("*.yaml")):
        made = render("--values", str(file))
        if made.returncode:
            problems.append(f"{file.name}: {made.stderr.strip()}")
            continue
        things = [it for it in yaml.safe_load_all(made.stdout) if it]
        for thing in things:
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(thing, version, strict=True)
                except Exception as error:
                    problems.append(f"{file.name}: {thing['kind']}, Kubernetes {version}: {error}")
        problems.extend(f"{file.name}: {said}" for is_right, said in check(things, file.stem == "local") if not is_right)
        streams = {
            "everything": {"nginx.ingress.kubernetes.io/proxy-buffering": "off", "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600"},
            "ingress-nginx-ingress": {"nginx.org/proxy-buffering": "False", "nginx.org/proxy-read-timeout": "3600s"},
            "ingress-aws-load-balancer": {"alb.ingress.kubernetes.io/load-balancer-attributes": "idle_timeout.timeout_seconds=3600"},
        }.get(file.stem, {})
        annotations = [it["metadata"].get("annotations", {}) for it in things if it["kind"] == "Ingress"]
        if streams and not streams.items() <= annotations[0].items():
            problems.append(f"{file.name}: the ingress holds streams back: {annotations}")


def refused():
    for values, words in REFUSED.items():
        made = render("--set", values)
        if made.returncode == 0 or words not in made.stderr:
            problems.append(f"--set {values} is not refused with {words!r}: {made.stderr.strip() or 'it is rendered'}")


def versions():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.*)"', pathlib.Path("Cargo.toml").read_text(), re.MULTILINE)[1]
    if chart["appVersion"] != version:
        problems.append(f"Chart.yaml has the appVersion {chart['appVersion']}, Cargo.toml the version {version}")


def settings():
    """Whatever the values name as a setting is one."""
    known = set(re.findall(r"^([A-Z][A-Z0-9_]*)=", pathlib.Path(".env.example").read_text(), re.MULTILINE))
    for file in sorted(VALUES.glob("*.yaml")) + [CHART / "values.yaml"]:
        values = yaml.safe_load(file.read_text()) or {}
        named = {*values.get("settings", {}), *values.get("secretSettings", {})}
        problems.extend(f"{file}: {it} is no setting" for it in sorted(named - known))


def metrics():
    source = "\n".join(it.read_text() for it in pathlib.Path("src").rglob("*.rs"))
    described = {name: kind for kind, name in re.findall(r'describe_(counter|gauge|histogram)!\(\s*"(\w+)"', source)}
    used = {name: kind for kind, name in re.findall(r'metrics::(counter|gauge|histogram)!\(\s*"(\w+)"', source)}
    if described != used:
        problems.append(f"metrics that are told and those that are described differ: {sorted(described.items() ^ used.items())}")
    known = {"up"} | {f"{name}{end}" for name, kind in described.items() for end in (["_bucket", "_sum", "_count"] if kind == "histogram" else [""])}
    rules = [rule for group in yaml.safe_load(pathlib.Path("deploy/prometheus/rules.yaml").read_text())["groups"] for rule in group["rules"]]
    dashboard = json.loads(pathlib.Path("deploy/grafana/on-demand-infra.json").read_text())
    asked = {rule["alert"]: rule["expr"] for rule in rules}
    asked |= {panel["title"]: target["expr"] for panel in dashboard["panels"] for target in panel["targets"]}
    for where, expression in asked.items():
        # A metric stands before its braces, or alone before an operator.
        names = set(re.findall(r"([a-z_]{2,})\s*(?:\{|\[)", expression))
        problems.extend(f"{where}: the server has no metric {name}" for name in sorted(names - known))
        if not names:
            problems.append(f"{where}: no metric is seen in {expression}")
    tested = yaml.safe_load(pathlib.Path("deploy/prometheus/rules_test.yaml").read_text())["tests"]
    fired = {it["alertname"] for it in tests_of(tested) if it["exp_alerts"]}
    problems.extend(f"{name}: no test sees it" for name in sorted({rule["alert"] for rule in rules} - fired))


def tests_of(groups):
    return [test for group in groups for test in group["alert_rule_test"]]


for part in (rendered, refused, versions, settings, metrics):
    part()
for problem in problems:
    print(f"deploy: {problem}", file=sys.stderr)
sys.exit(bool(problems))
