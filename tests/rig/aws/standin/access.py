"""Who may enter an EKS cluster: whoever made it, and whom an access entry with a policy lets in. moto knows neither.

Here every policy makes an administrator. The entries stand with the cluster and go with it.
"""

from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.eks import urls
from moto.eks.exceptions import InvalidRequestException, ResourceInUseException, ResourceNotFoundException
from moto.eks.models import Cluster
from moto.eks.responses import EKSResponse

from . import habits, sigv4

WITH_ENTRIES = {"API", "API_AND_CONFIG_MAP"}
ADMINISTRATOR = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
DEFAULT_MODE = "CONFIG_MAP"


@dataclass
class Entry:
    """An access entry as the API shows it."""

    principal: str
    tags: dict[str, str] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)

    def shown(self, cluster: Cluster) -> dict[str, Any]:
        kind, _, name = self.principal.rpartition(":")[2].partition("/")
        arn = f"{cluster.arn.replace(':cluster/', ':access-entry/')}/{kind}/{name}"
        return {
            "clusterName": cluster.name,
            "principalArn": self.principal,
            "accessEntryArn": arn,
            "kubernetesGroups": [],
            "tags": self.tags,
            "type": "STANDARD",
            "username": self.principal,
            "createdAt": utcnow(),
            "modifiedAt": utcnow(),
        }


def principal(arn: str) -> str:
    """The user or role of a caller: a session of a role has another ARN ("access entries" in the EKS user guide)."""
    account, kind = arn.split(":")[4], arn.rpartition(":")[2]
    if kind.startswith("assumed-role/"):
        kind = "role/" + kind.split("/")[1]
    return f"arn:aws:iam::{account}:{kind}"


def admits(cluster: Cluster, caller: str) -> bool:
    entry = entries_of(cluster).get(principal(caller))
    return bool(entry and entry.policies)


def entries_of(cluster: Cluster) -> dict[str, Entry]:
    return cluster.__dict__.setdefault("rig_entries", {})


def patch() -> None:
    urls.url_paths |= {
        "{0}/clusters/(?P<name>[^/]+)/access-entries$": urls.response.dispatch,
        "{0}/clusters/(?P<name>[^/]+)/access-entries/(?P<principalArn>.+)/access-policies$": urls.response.dispatch,
        "{0}/clusters/(?P<name>[^/]+)/access-entries/(?P<principalArn>.+)/access-policies/(?P<policyArn>.+)$": urls.response.dispatch,
        "{0}/clusters/(?P<name>[^/]+)/access-entries/(?P<principalArn>.+)$": urls.response.dispatch,
    }
    _creation()
    for operation in (
        create_access_entry,
        describe_access_entry,
        list_access_entries,
        delete_access_entry,
        associate_access_policy,
        disassociate_access_policy,
        list_associated_access_policies,
    ):
        setattr(EKSResponse, operation.__name__, operation)


def _creation() -> None:
    """Whoever makes a cluster administers it, unless that is declined; the mode may be changed later."""
    create, update = EKSResponse.create_cluster, EKSResponse.update_cluster_config

    @wraps(create)
    def create_cluster(self: EKSResponse) -> ActionResult:
        made = create(self)
        cluster = self.eks_backend.clusters[self._get_param("name")]
        wanted = self._get_param("accessConfig") or {}
        cluster.access_config = {
            "authenticationMode": wanted.get("authenticationMode", DEFAULT_MODE),
            "bootstrapClusterCreatorAdminPermissions": wanted.get("bootstrapClusterCreatorAdminPermissions", True),
        }
        if cluster.access_config["bootstrapClusterCreatorAdminPermissions"]:
            own = principal(sigv4.identity(self.access_key).arn)
            entries_of(cluster)[own] = Entry(own, policies={ADMINISTRATOR: {"type": "cluster"}})
        return made

    @wraps(update)
    def update_cluster_config(self: EKSResponse) -> ActionResult:
        if not (wanted := self._get_param("accessConfig")):
            return update(self)
        cluster = self.eks_backend.describe_cluster(name=self._get_param("name"))
        cluster.access_config["authenticationMode"] = wanted["authenticationMode"]
        return ActionResult({"update": {"id": "access", "status": "Successful", "type": "AccessConfigUpdate"}})

    EKSResponse.create_cluster, EKSResponse.update_cluster_config = create_cluster, update_cluster_config


def _cluster(response: EKSResponse) -> Cluster:
    cluster = response.eks_backend.describe_cluster(name=response._get_param("name"))
    if cluster.access_config["authenticationMode"] not in WITH_ENTRIES:
        modes = ", ".join(sorted(WITH_ENTRIES))
        message = f"The cluster's authentication mode must be set to one of [{modes}] to perform this operation."
        raise InvalidRequestException(clusterName=cluster.name, message=message)
    return cluster


def _entry(response: EKSResponse) -> tuple[Cluster, Entry]:
    cluster, arn = _cluster(response), response._get_param("principalArn")
    if not (entry := entries_of(cluster).get(arn)):
        message = f"The specified principalArn could not be found: {arn}"
        raise ResourceNotFoundException(clusterName=cluster.name, message=message)
    return cluster, entry


def create_access_entry(self: EKSResponse) -> ActionResult:
    cluster, arn = _cluster(self), self._get_param("principalArn")
    if arn in entries_of(cluster):
        message = "The specified access entry resource is already in use on this cluster."
        raise ResourceInUseException(clusterName=cluster.name, message=message)
    entry = entries_of(cluster)[arn] = Entry(arn, tags=self._get_param("tags") or {})
    return ActionResult({"accessEntry": entry.shown(cluster)})


def describe_access_entry(self: EKSResponse) -> ActionResult:
    cluster, entry = _entry(self)
    return ActionResult({"accessEntry": entry.shown(cluster)})


def list_access_entries(self: EKSResponse) -> ActionResult:
    shown, token = habits.page(list(entries_of(_cluster(self))), self._get_param("nextToken"))
    return ActionResult({"accessEntries": shown, "nextToken": token})


def delete_access_entry(self: EKSResponse) -> ActionResult:
    cluster, entry = _entry(self)
    del entries_of(cluster)[entry.principal]
    return ActionResult({})


def associate_access_policy(self: EKSResponse) -> ActionResult:
    cluster, entry = _entry(self)
    policy, scope = self._get_param("policyArn"), self._get_param("accessScope")
    entry.policies[policy] = scope
    associated = {"policyArn": policy, "accessScope": scope, "associatedAt": utcnow(), "modifiedAt": utcnow()}
    return ActionResult(
        {"clusterName": cluster.name, "principalArn": entry.principal, "associatedAccessPolicy": associated}
    )


def disassociate_access_policy(self: EKSResponse) -> ActionResult:
    _, entry = _entry(self)
    entry.policies.pop(self._get_param("policyArn"), None)
    return ActionResult({})


def list_associated_access_policies(self: EKSResponse) -> ActionResult:
    cluster, entry = _entry(self)
    associated = [
        {"policyArn": policy, "accessScope": scope, "associatedAt": utcnow(), "modifiedAt": utcnow()}
        for policy, scope in entry.policies.items()
    ]
    return ActionResult(
        {"clusterName": cluster.name, "principalArn": entry.principal, "associatedAccessPolicies": associated}
    )
