"""What IAM would have to know to judge a call: who makes it, what it names, whose tags that has, what it is to be tagged
with, and which roles it hands on. tests/rights judges by it.

Only calls of the account's users are kept, and equal ones once: stories act as `cloud-local` or `cloud-hosted`, and what a
test does with the account's own keys is none of the program's doing. They stay until `DELETE /rig/rights`.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from moto.acm.models import acm_backends
from moto.core.responses import BaseResponse
from moto.ec2.models import ec2_backends
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE
from moto.ecr.models import ecr_backends
from moto.eks.models import eks_backends
from moto.elbv2.models import elbv2_backends
from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.logs.models import logs_backends
from moto.utilities.tagging_service import TaggingService

from . import access, addons, settings

ACCOUNT = "123456789012"
kept: dict[str, None] = {}  # JSON of each, in order

# What IAM calls a service or a resource where moto has another word.
SERVICES = {"elbv2": "elasticloadbalancing", "resourcegroupstaggingapi": "tag", "service-quotas": "servicequotas"}
EC2_TYPES = {"nat-gateway": "natgateway", "vpc-elastic-ip": "elastic-ip"}
# Parameters that name a resource otherwise than by an ARN or an id of EC2's.
NAMES = {
    "ec2": {"KeyName": "key-pair/{}"},
    "ecr": {"repositoryName": "repository/{}", "repositoryNames": "repository/{}"},
    "iam": {"RoleName": "role/{}"},
    "kms": {"KeyId": "key/{}"},
    "logs": {"logGroupName": "log-group:{}", "logGroupNamePrefix": "log-group:{}"},
    "route53": {"HostedZoneId": "hostedzone/{}"},
}
GLOBAL = {"iam", "route53"}


def make_users() -> None:
    """The users that stories act as, with the same keys in every account that was emptied."""
    iam = iam_backends[ACCOUNT]["aws"]
    for name in settings.USERS:
        user = iam.create_user("us-east-1", name)
        key = iam.create_access_key(name)
        iam.access_keys.pop(key.physical_resource_id)
        key.access_key_id, key.secret_access_key = settings.credentials(name)
        iam.access_keys[key.access_key_id] = key
        assert key in user.access_keys


def note(call: BaseResponse, service: str, action: str) -> None:
    name = next((it for it in settings.USERS if settings.credentials(it)[0] == call.access_key), None)
    if name is None:
        return
    service = SERVICES.get(service, service)
    parameters = _parameters(call)
    request = {
        "user": name,
        "action": f"{service}:{action}",
        "region": call.region,
        "resources": {arn: _tags(arn) for arn in sorted(set(_resources(service, call.region, parameters)))},
        "tags": _request_tags(parameters),
        "roles": sorted({it for key, it in _strings(parameters) if key.lower() in ("rolearn", "noderole")}),
    }
    if policy := parameters.get("PolicyArn"):
        request["policy"] = policy
    if changes := parameters.get("ChangeBatch"):
        request["record_types"] = sorted({it["ResourceRecordSet"]["Type"] for it in changes["Changes"]})
    kept.setdefault(json.dumps(request), None)


def _parameters(call: BaseResponse) -> dict[str, Any]:
    if call.automated_parameter_parsing:
        return dict(call.params)
    try:
        body = json.loads(call.body or "{}")
    except ValueError:
        body = {}
    in_path = call.uri_match.groupdict() if call.uri_match else {}
    return (body if isinstance(body, dict) else {}) | {key: unquote(value) for key, value in in_path.items()}


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in the parameters, with the name that it stands under."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, it in value.items():
            # What is looked for is not what is named.
            if name not in ("Filters", "Tags", "tags", "TagSpecifications"):
                yield from _strings(it, name)
    elif isinstance(value, (list, tuple)):
        for it in value:
            yield from _strings(it, key)


def _resources(service: str, region: str, parameters: dict[str, Any]) -> Iterator[str]:
    def arn(path: str) -> str:
        where = "" if service in GLOBAL else region
        account = "" if service == "route53" or path.startswith("image/") else ACCOUNT
        return f"arn:aws:{service}:{where}:{account}:{path}"

    if service == "eks":
        yield from map(arn, _of_eks(parameters))
    for key, text in _strings(parameters):
        if text.startswith("arn:"):
            yield text.removesuffix(":*")
        elif form := NAMES.get(service, {}).get(key):
            yield arn(form.format(text.rpartition("/")[2] if service == "route53" else text))
        elif service == "route53" and key == "Id":
            kind = "change" if "change" in text or text.startswith("C") else "hostedzone"
            yield arn(f"{kind}/{text.rpartition('/')[2]}")
        elif service == "ec2" and (match := re.fullmatch(r"([a-z-]+)-[0-9a-f]{8,17}", text)):
            if match[1] == "rtbassoc":
                yield from (arn(f"route-table/{it}") for it in _tables_of(region, text))
            elif kind := EC2_PREFIX_TO_RESOURCE.get(match[1]):
                yield arn(f"{EC2_TYPES.get(kind, kind)}/{text}")


def _of_eks(parameters: dict[str, Any]) -> Iterator[str]:
    cluster = parameters.get("clusterName") or parameters.get("name")
    if not cluster:
        return
    yield f"cluster/{cluster}"
    if group := parameters.get("nodegroupName"):
        yield f"nodegroup/{cluster}/{group}/*"
    if addon := parameters.get("addonName"):
        yield f"addon/{cluster}/{addon}/*"
    if principal := parameters.get("principalArn"):
        _, _, _, _, account, who = principal.split(":", 5)
        kind, _, name = who.partition("/")
        yield f"access-entry/{cluster}/{kind}/{account}/{name.rpartition('/')[2]}/*"


def _tables_of(region: str, association: str) -> list[str]:
    tables = ec2_backends[ACCOUNT][region].route_tables.values()
    return [it.id for it in tables if association in it.all_associations_ids]


def _request_tags(parameters: dict[str, Any]) -> dict[str, dict[str, str]]:
    """By the type of what is tagged; `*` where the call tags one thing."""
    by_type = {}
    for it in parameters.get("TagSpecifications") or []:
        by_type[EC2_TYPES.get(it["ResourceType"], it["ResourceType"])] = _pairs(it.get("Tags"))
    if flat := _pairs(parameters.get("Tags") or parameters.get("tags")):
        by_type["*"] = flat
    return by_type


def _pairs(tags: Any) -> dict[str, str]:
    if isinstance(tags, dict):
        return dict(tags)
    folded = [{key.lower().removeprefix("tag"): value for key, value in it.items()} for it in tags or [] if isinstance(it, dict)]
    return {it["key"]: it.get("value", "") for it in folded if "key" in it}


def _tags(arn: str) -> dict[str, str]:
    """The tags that something has right now; none when it is not there."""
    _, _, service, region, _, path = arn.split(":", 5)
    kind, _, name = path.partition(":" if service == "logs" else "/")
    find = FIND.get(service)
    try:
        return find(region, kind, name, arn) or {} if find else {}
    except Exception:  # each of moto's models has its own way to say that something is not there
        return {}


def _of_eks_tags(region: str, kind: str, name: str, _: str) -> dict[str, str]:
    named, *rest = name.split("/")
    cluster = eks_backends[ACCOUNT][region].clusters[named]
    match kind:
        case "cluster":
            return cluster.tags
        case "nodegroup":
            return cluster.nodegroups[rest[0]].tags
        case "addon":
            return addons.addons_of(cluster)[rest[0]]["tags"]
        case "access-entry":
            return access.entries_of(cluster)[f"arn:aws:iam::{rest[1]}:{rest[0]}/{rest[2]}"].tags
    return {}


def _tagged(tagging: TaggingService, name: str) -> dict[str, str]:
    return tagging.get_tag_dict_for_resource(name)


FIND: dict[str, Callable[[str, str, str, str], dict[str, str]]] = {
    "ec2": lambda region, kind, name, _: dict(ec2_backends[ACCOUNT][region].tags.get(name, {})),
    "eks": _of_eks_tags,
    "elasticloadbalancing": lambda region, _, __, arn: _tagged(elbv2_backends[ACCOUNT][region].tagging_service, arn),
    "ecr": lambda region, _, __, arn: _tagged(ecr_backends[ACCOUNT][region].tagger, arn),
    "logs": lambda region, _, __, arn: _tagged(logs_backends[ACCOUNT][region].tagger, arn),
    "kms": lambda region, _, name, __: _tagged(kms_backends[ACCOUNT][region].tagger, name),
    "acm": lambda region, _, __, arn: dict(acm_backends[ACCOUNT][region]._certificates[arn].tags),
    "iam": lambda _, __, name, ___: _pairs(iam_backends[ACCOUNT]["aws"].get_role(name).tags),
}
