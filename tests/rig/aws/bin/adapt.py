#!/usr/bin/env python3
"""Adapts modules that are written for version 6 of AWS' provider to the 3.39.0 that the bed has.

usage: adapt.py before DIRECTORY       rewrites the *.tf files there, which are copies
       adapt.py after DIRECTORY        does by the API what 3.39.0 cannot, after an `apply`

What is not in the list stands in the modules as it is. 3.39.0 knows everything else that they use.
"""

import json
import pathlib
import re
import sys

# What is replaced, and by what.
REPLACED = [
    ('version = "~> 6.0"', 'version = "3.39.0"'),
    # aws_eip: an argument of another name.
    ('domain     = "vpc"', "vpc        = true"),
    # aws_eks_addon: one argument for what are two since 5.0.
    ("resolve_conflicts_on_create", "resolve_conflicts"),
    # aws_launch_template: the interfaces of instances get no tags.
    ('["instance", "volume", "network-interface"]', '["instance", "volume"]'),
    # aws_eks_cluster: what is left of the changes that are ignored.
    (
        "version, bootstrap_self_managed_addons, access_config[0].bootstrap_cluster_creator_admin_permissions,",
        "version,",
    ),
]
# Blocks and arguments that 3.39.0 has not: the block that they are in, and how they begin. `after` does what they say of
# access; what they say of add-ons and upgrades has no effect here.
REMOVED = [
    ('resource "aws_eks_cluster" "cluster" {', "bootstrap_self_managed_addons ="),
    ('resource "aws_eks_cluster" "cluster" {', "access_config {"),
    ('resource "aws_eks_cluster" "cluster" {', "upgrade_policy {"),
    ('resource "aws_eks_addon" "network" {', "configuration_values ="),
    ('resource "aws_eks_node_group" "nodes" {', "ami_type "),
    ("", 'resource "aws_eks_access_entry" "admin" {'),
    ("", 'resource "aws_eks_access_policy_association" "admin" {'),
]
ADMINISTRATOR = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


def before(folder):
    for file in folder.glob("*.tf"):
        text = adapted = file.read_text()
        for old, new in REPLACED:
            adapted = adapted.replace(old, new)
        for within, begin in REMOVED:
            adapted = remove(adapted, within, begin)
        if adapted != text:
            file.write_text(adapted)


def remove(text, within, begin):
    """Takes out what begins so, to its own end: `terraform fmt` has put the bracket that closes it below its beginning."""
    indent = "  " if within else ""
    found = re.search(f"^{indent}{re.escape(begin)}.*\n", text[text.find(within) :] if within in text else "", re.M)
    if not found:
        return text
    start = text.find(within) + found.start()
    end = text.find(within) + found.end()
    if found.group().rstrip().endswith(("{", "(", "({")):
        end = re.compile(f"^{indent}[}})]+\n", re.M).search(text, end).end()
    return text[:start] + text[end:]


def after(folder):
    """Lets those in whom the module would: the cluster is there by now."""
    values = json.loads((folder / "terraform.tfvars.json").read_text())
    if not values.get("admin_arns"):
        return
    import boto3

    eks = boto3.client("eks", region_name=values["region"])
    cluster = {"name": values["name"]}
    if eks.describe_cluster(**cluster)["cluster"]["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
        eks.update_cluster_config(**cluster, accessConfig={"authenticationMode": "API_AND_CONFIG_MAP"})
    for arn in values["admin_arns"]:
        entry = {"clusterName": values["name"], "principalArn": arn}
        try:
            eks.create_access_entry(**entry, tags=values["tags"])
        except eks.exceptions.ResourceInUseException:
            pass  # an earlier apply has made it
        eks.associate_access_policy(**entry, policyArn=ADMINISTRATOR, accessScope={"type": "cluster"})


if __name__ == "__main__":
    {"before": before, "after": after}[sys.argv[1]](pathlib.Path(sys.argv[2]))
