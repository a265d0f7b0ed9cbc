"""AWS' habits: what is known late, what lingers, what comes in small pages, what comes back.

Each has a number, which POST /rig/habits changes until the next reset: {"roles_s": 0}. RIG_HABITS=0 in the environment of
aws/up: none of them.
"""

import os
import threading
import time
from functools import wraps
from typing import Any

from moto.eks.exceptions import InvalidParameterException
from moto.eks.models import Cluster, EKSBackend, Nodegroup
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.ec2.models import ec2_backends
from moto.resourcegroupstaggingapi.models import ResourceGroupsTaggingAPIBackend
from moto.utilities.paginator import Paginator

DEFAULTS = {
    "console_s": 8.0,  # from the start of an instance until its console tells anything
    "roles_s": 10.0,  # from the creation of a role until EKS takes it
    "interfaces_s": 6.0,  # how long the interfaces of pods outlive their nodes, and hold their subnet
    "tags_s": 5.0,  # from the first look at a resource until the list of tags names it
    "log_groups_s": 4.0,  # from the end of a cluster until its log group is there again; 0: never
    "page": 2.0,  # how many items an answer has at most; 0: as many as are asked for
}
INTERFACE = "aws-K8S-"

now: dict[str, float] = {}
seen: dict[str, float] = {}  # when the list of tags was first asked for a resource


def forget() -> None:
    now.clear()
    now.update(dict.fromkeys(DEFAULTS, 0.0) if os.environ.get("RIG_HABITS") == "0" else DEFAULTS)
    seen.clear()


def change(wanted: dict[str, Any]) -> dict[str, float]:
    if unknown := wanted.keys() - DEFAULTS.keys():
        raise ValueError(f"no such habits: {', '.join(sorted(unknown))}")
    now.update({name: float(value) for name, value in wanted.items()})
    return now


def patch() -> None:
    forget()
    _pages()
    _roles()
    _tags()


def later(seconds: float, work: Any, *args: Any) -> None:
    timer = threading.Timer(seconds, work, args)
    timer.daemon = True
    timer.start()


def page(items: list[Any], token: str | None) -> tuple[list[Any], str | None]:
    """Some of the items, and the token of the next."""
    size, start = int(now["page"]) or len(items), int(token or 0)
    return items[start : start + size], str(start + size) if start + size < len(items) else None


def _pages() -> None:
    init = Paginator.__init__

    @wraps(init)
    def small(self: Paginator, max_results: Any = None, max_results_default: Any = None, **others: Any) -> None:
        wanted = int(max_results or max_results_default or 100)
        init(self, max_results=min(wanted, int(now["page"]) or wanted), **others)

    Paginator.__init__ = small


def _roles() -> None:
    create = EKSBackend.create_cluster

    @wraps(create)
    def create_cluster(self: EKSBackend, *args: Any, **kwargs: Any) -> Cluster:
        arn = kwargs["role_arn"]
        roles = iam_backends[self.account_id][self.partition].roles.values()
        role = next((it for it in roles if it.arn == arn), None)
        if not role or time.time() - role.create_date.timestamp() < now["roles_s"]:
            raise InvalidParameterException(clusterName=kwargs["name"], message=f"roleArn, {arn}, does not exist")
        return create(self, *args, **kwargs)

    EKSBackend.create_cluster = create_cluster


def _tags() -> None:
    list_all = ResourceGroupsTaggingAPIBackend._get_resources_generator

    @wraps(list_all)
    def late(self: ResourceGroupsTaggingAPIBackend, *args: Any, **kwargs: Any) -> Any:
        for found in list_all(self, *args, **kwargs):
            if time.monotonic() - seen.setdefault(found["ResourceARN"], time.monotonic()) >= now["tags_s"]:
                yield found

    ResourceGroupsTaggingAPIBackend._get_resources_generator = late


def _place(cluster: Cluster) -> tuple[str, str]:
    """Account and region."""
    _, _, _, region, account, _ = cluster.arn.split(":", 5)
    return account, region


def interface_of(group: Nodegroup, cluster: Cluster) -> str:
    """The network of a node has an interface of its own for pods, with the cluster's tags."""
    account, region = _place(cluster)
    ec2 = ec2_backends[account][region]
    subnet = ec2.get_subnet(group.subnets[0])
    interface = ec2.create_network_interface(subnet, "", description=f"{INTERFACE}{group.nodegroup_name}", tags=cluster.tags)
    return interface.id


def let_interface_linger(interface: str, cluster: Cluster) -> None:
    account, region = _place(cluster)
    ec2 = ec2_backends[account][region]
    later(now["interfaces_s"], lambda: ec2.enis.pop(interface, None))


def bring_log_group_back(cluster: Cluster) -> None:
    """What a cluster says last is written when it is gone."""
    enabled = [it for it in (cluster.logging or {}).get("clusterLogging", []) if it.get("enabled")]
    if not enabled or not now["log_groups_s"]:
        return
    account, region = _place(cluster)
    logs, name = logs_backends[account][region], f"/aws/eks/{cluster.name}/cluster"

    def write() -> None:
        if name not in logs.groups:
            logs.create_log_group(name, {})

    later(now["log_groups_s"], write)
