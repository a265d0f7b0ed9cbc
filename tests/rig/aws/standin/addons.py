"""Versions of EKS and the add-ons of its clusters, which moto does not know. Nothing is installed: a kind cluster has its own."""

from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.eks import urls
from moto.eks.exceptions import ResourceInUseException, ResourceNotFoundException
from moto.eks.models import Cluster
from moto.eks.responses import EKSResponse

from . import habits

# As EKS tells them at the end of November 2026: the last standard support of each, and the one that is the default.
VERSIONS = {
    "1.36": ("STANDARD_SUPPORT", False),
    "1.35": ("STANDARD_SUPPORT", True),
    "1.34": ("STANDARD_SUPPORT", False),
    "1.33": ("EXTENDED_SUPPORT", False),
}
ADDON_VERSION = "v1.0.0-eksbuild.1"


def patch() -> None:
    urls.url_paths |= {
        "{0}/cluster-versions$": urls.response.dispatch,
        "{0}/clusters/(?P<name>[^/]+)/addons$": urls.response.dispatch,
        "{0}/clusters/(?P<name>[^/]+)/addons/(?P<addonName>[^/]+)$": urls.response.dispatch,
    }
    for operation in (describe_cluster_versions, create_addon, describe_addon, list_addons, delete_addon):
        setattr(EKSResponse, operation.__name__, operation)


def describe_cluster_versions(self: EKSResponse) -> ActionResult:
    wants_default = self.querystring.get("defaultOnly", ["false"])[0] == "true"
    versions = [
        {
            "clusterVersion": version,
            "clusterType": "eks",
            "defaultVersion": is_default,
            "status": support,
            "versionStatus": support,
        }
        for version, (support, is_default) in VERSIONS.items()
        if is_default or not wants_default
    ]
    shown, token = habits.page(versions, self.querystring.get("nextToken", [None])[0])
    return ActionResult({"clusterVersions": shown, "nextToken": token})


def addons_of(cluster: Cluster) -> dict[str, dict[str, Any]]:
    return cluster.__dict__.setdefault("rig_addons", {})


def _addon(response: EKSResponse) -> tuple[Cluster, dict[str, Any]]:
    cluster, name = response.eks_backend.describe_cluster(name=response._get_param("name")), response._get_param("addonName")
    if not (addon := addons_of(cluster).get(name)):
        message = f"No addon: {name} found in cluster: {cluster.name}"
        raise ResourceNotFoundException(clusterName=cluster.name, addonName=name, message=message)
    return cluster, addon


def create_addon(self: EKSResponse) -> ActionResult:
    cluster, name = self.eks_backend.describe_cluster(name=self._get_param("name")), self._get_param("addonName")
    if name in addons_of(cluster):
        raise ResourceInUseException(clusterName=cluster.name, addonName=name, message="Addon already exists.")
    addon = addons_of(cluster)[name] = {
        "addonName": name,
        "clusterName": cluster.name,
        "status": "ACTIVE",
        "addonVersion": self._get_param("addonVersion") or ADDON_VERSION,
        "addonArn": f"{cluster.arn.replace(':cluster/', ':addon/')}/{name}/{len(addons_of(cluster))}",
        "createdAt": utcnow(),
        "modifiedAt": utcnow(),
        "tags": self._get_param("tags") or {},
        "health": {"issues": []},
    }
    return ActionResult({"addon": addon})


def describe_addon(self: EKSResponse) -> ActionResult:
    return ActionResult({"addon": _addon(self)[1]})


def list_addons(self: EKSResponse) -> ActionResult:
    cluster = self.eks_backend.describe_cluster(name=self._get_param("name"))
    return ActionResult({"addons": list(addons_of(cluster))})


def delete_addon(self: EKSResponse) -> ActionResult:
    cluster, addon = _addon(self)
    del addons_of(cluster)[addon["addonName"]]
    return ActionResult({"addon": addon | {"status": "DELETING"}})
