#!/usr/bin/env python3
"""What `sweep` takes and what it leaves, on moto in this process. usage: $RIG_CACHE/aws/venv/bin/python tests/real/sweep_test.py"""

import importlib.machinery
import importlib.util
import os
import pathlib
import sys
import unittest
from typing import Any

os.environ |= {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
os.environ.pop("AWS_ENDPOINT_URL", None)

import boto3
from moto import mock_aws

REGION, OURS, THEIRS = "us-east-1", "odi-abcdef-h", "shop-of-somebody"
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("sweep", str(pathlib.Path(__file__).with_name("sweep")))
sweep = importlib.util.module_from_spec(importlib.util.spec_from_loader("sweep", loader))
loader.exec_module(sweep)
sweep.PAUSE_S = 0


def make(name: str) -> None:
    """All that a run leaves in its middle, under this name and with the server's tag."""
    pairs = {sweep.TARGET: "tgt_1", "Name": name}
    tags = [{"Key": key, "Value": value} for key, value in pairs.items()]

    def tagged(kind: str) -> dict[str, Any]:
        return {"TagSpecifications": [{"ResourceType": kind, "Tags": tags}]}

    ec2, iam = boto3.client("ec2", REGION), boto3.client("iam", REGION)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", **tagged("vpc"))["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24", **tagged("subnet"))["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc, **tagged("route-table"))["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    gateway = ec2.create_internet_gateway(**tagged("internet-gateway"))["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    address = ec2.allocate_address(**tagged("elastic-ip"))["AllocationId"]
    ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address, **tagged("natgateway"))
    image = ec2.describe_images()["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId=subnet, **tagged("instance"))
    ec2.create_key_pair(KeyName=name)
    iam.create_role(RoleName=f"{name}-tgt_1-cluster", AssumeRolePolicyDocument="{}")
    policy = "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
    iam.attach_role_policy(RoleName=f"{name}-tgt_1-cluster", PolicyArn=policy)
    boto3.client("logs", REGION).create_log_group(logGroupName=f"/aws/eks/{name}/cluster")
    boto3.client("ecr", REGION).create_repository(repositoryName=f"{name}/demo/a", tags=tags)
    boto3.client("acm", REGION).request_certificate(DomainName="a.test", Tags=tags)
    boto3.client("kms", REGION).create_key(Tags=[{"TagKey": it["Key"], "TagValue": it["Value"]} for it in tags])
    of_cluster = [tags[0], {"Key": f"kubernetes.io/cluster/{name}", "Value": "owned"}]
    boto3.client("elbv2", REGION).create_load_balancer(Name=name, Type="network", Subnets=[subnet], Tags=of_cluster)
    eks, role = boto3.client("eks", REGION), f"arn:aws:iam::123456789012:role/{name}-tgt_1-cluster"
    eks.create_cluster(name=name, roleArn=role, resourcesVpcConfig={"subnetIds": [subnet]}, tags=pairs)
    eks.create_nodegroup(clusterName=name, nodegroupName="nodes", nodeRole=role, subnets=[subnet])


def run(*words: str) -> int:
    sys.argv = ["sweep", *words]
    return sweep.main()


class Sweep(unittest.TestCase):
    def setUp(self) -> None:
        self.enterContext(mock_aws())

    def test_what_has_the_prefix_and_the_tag_goes_and_nothing_else_does(self) -> None:
        make(OURS)
        make(THEIRS)
        others = len(sweep.Region(REGION, THEIRS).all())

        self.assertEqual(run("--list", REGION, "odi-abcdef"), 1)
        self.assertEqual(run(REGION, "odi-abcdef"), 0)

        self.assertEqual(run("--list", REGION, "odi-abcdef"), 0)
        self.assertEqual(others, 15)
        self.assertEqual(len(sweep.Region(REGION, THEIRS).all()), others)

    def test_a_name_without_the_tag_is_somebody_elses(self) -> None:
        ec2 = boto3.client("ec2", REGION)
        tags = [{"Key": "Name", "Value": OURS}]
        ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": tags}])

        self.assertEqual(run("--list", REGION, "odi-abcdef"), 0)

    def test_a_short_prefix_is_refused(self) -> None:
        with self.assertRaises(SystemExit):
            run(REGION, "odi")


if __name__ == "__main__":
    unittest.main()
