locals {
  tags = merge(var.tags, { Name = var.name })
  # Load balancers find their subnets by this.
  cluster_tag = { "kubernetes.io/cluster/${var.name}" = "shared" }
  gateways    = var.nat == "none" ? 0 : var.nat == "one" ? 1 : length(var.zones)
  # Names of roles may be 64 characters long, those of clusters 100. They are unique in an account, whatever the region.
  role_prefix = "${substr(var.name, 0, 18)}-${var.target}"
}

# The network.

resource "aws_vpc" "cluster" {
  #checkov:skip=CKV2_AWS_12:Nothing here is in its default group; to close that takes a right on groups that carry no tag of ours.
  #checkov:skip=CKV2_AWS_11:Flow logs cost by the gigabyte; whoever needs them adds them to the network.
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(local.tags, local.cluster_tag)
}

resource "aws_internet_gateway" "cluster" {
  vpc_id = aws_vpc.cluster.id
  tags   = local.tags
}

resource "aws_subnet" "public" {
  count                   = length(var.zones)
  vpc_id                  = aws_vpc.cluster.id
  availability_zone       = var.zones[count.index]
  cidr_block              = cidrsubnet(var.vpc_cidr, 4, count.index)
  map_public_ip_on_launch = true
  tags = merge(local.tags, local.cluster_tag, {
    Name                     = "${var.name}-public-${count.index}"
    "kubernetes.io/role/elb" = "1"
  })
}

resource "aws_subnet" "private" {
  count             = length(var.zones)
  vpc_id            = aws_vpc.cluster.id
  availability_zone = var.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, count.index + 8)
  tags = merge(local.tags, local.cluster_tag, {
    Name                              = "${var.name}-private-${count.index}"
    "kubernetes.io/role/internal-elb" = "1"
  })
}

resource "aws_eip" "nat" {
  count      = local.gateways
  domain     = "vpc"
  tags       = local.tags
  depends_on = [aws_internet_gateway.cluster]
}

resource "aws_nat_gateway" "cluster" {
  count         = local.gateways
  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[count.index].id
  tags          = local.tags
  depends_on    = [aws_internet_gateway.cluster]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.cluster.id
  tags   = merge(local.tags, { Name = "${var.name}-public" })
}

resource "aws_route" "internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.cluster.id
}

resource "aws_route_table_association" "public" {
  count          = length(var.zones)
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table" "private" {
  count  = length(var.zones)
  vpc_id = aws_vpc.cluster.id
  tags   = merge(local.tags, { Name = "${var.name}-private-${count.index}" })
}

resource "aws_route" "nat" {
  count                  = local.gateways == 0 ? 0 : length(var.zones)
  route_table_id         = aws_route_table.private[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.cluster[min(count.index, local.gateways - 1)].id
}

resource "aws_route_table_association" "private" {
  count          = length(var.zones)
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private[count.index].id
}

# The roles: each may do what AWS asks of it and no more.

resource "aws_iam_role" "cluster" {
  name = "${local.role_prefix}-cluster"
  tags = local.tags
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "eks.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })

  lifecycle {
    # Another name would replace the role, and with it the cluster.
    ignore_changes = [name]
  }
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonEKSClusterPolicy"
}

resource "aws_iam_role" "node" {
  name = "${local.role_prefix}-node"
  tags = local.tags
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })

  lifecycle {
    # Another name would replace the role, and with it the nodes.
    ignore_changes = [name]
  }
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each   = toset(["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryReadOnly"])
  role       = aws_iam_role.node.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/${each.key}"
}

data "aws_partition" "current" {}

# The cluster.

resource "aws_cloudwatch_log_group" "cluster" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts it with a key of its own; one in KMS would be paid for each month.
  #checkov:skip=CKV_AWS_338:A year of audit logs costs more than a small cluster; a week is enough to see what happened.
  count             = length(var.logs) == 0 ? 0 : 1
  name              = "/aws/eks/${var.name}/cluster"
  retention_in_days = 7
  tags              = local.tags
}

resource "aws_kms_key" "secrets" {
  #checkov:skip=CKV2_AWS_64:AWS' default policy leaves the key to the rights of the account, where EKS' grants are made.
  count                   = var.encrypt_secrets ? 1 : 0
  description             = "Secrets of the EKS cluster ${var.name}"
  deletion_window_in_days = 7
  enable_key_rotation     = true
  tags                    = local.tags
}

resource "aws_eks_cluster" "cluster" {
  #checkov:skip=CKV_AWS_39:The server that deploys is outside of the network; public_access_cidrs says from where.
  #checkov:skip=CKV_AWS_38:Where the server is, the module cannot know; EKS_PUBLIC_ACCESS_CIDRS narrows it.
  #checkov:skip=CKV_AWS_37:Two of the five kinds of logs are large and say little; EKS_LOGS chooses.
  name                      = var.name
  version                   = var.kubernetes_version
  role_arn                  = aws_iam_role.cluster.arn
  enabled_cluster_log_types = var.logs
  tags                      = local.tags

  # The add-ons below take their place.
  bootstrap_self_managed_addons = false

  access_config {
    authentication_mode                         = "API_AND_CONFIG_MAP"
    bootstrap_cluster_creator_admin_permissions = true
  }

  # With STANDARD, AWS upgrades the cluster at the end of standard support; with EXTENDED it costs six times as much then.
  upgrade_policy {
    support_type = var.support_type
  }

  vpc_config {
    subnet_ids              = concat(aws_subnet.public[*].id, aws_subnet.private[*].id)
    endpoint_public_access  = true
    endpoint_private_access = true
    public_access_cidrs     = var.public_access_cidrs
  }

  dynamic "encryption_config" {
    for_each = aws_kms_key.secrets[*].arn
    content {
      resources = ["secrets"]
      provider {
        key_arn = encryption_config.value
      }
    }
  }

  lifecycle {
    # AWS upgrades it. What only counts when it is made would replace it.
    ignore_changes = [
      version, bootstrap_self_managed_addons, access_config[0].bootstrap_cluster_creator_admin_permissions,
    ]
  }

  # They outlive the cluster: without them EKS cannot clear away what it made.
  depends_on = [
    aws_iam_role_policy_attachment.cluster,
    aws_cloudwatch_log_group.cluster,
    aws_route.internet,
    aws_route_table_association.public,
  ]
}

# Who may enter, beside whoever made the cluster.

resource "aws_eks_access_entry" "admin" {
  for_each      = toset(var.admin_arns)
  cluster_name  = aws_eks_cluster.cluster.name
  principal_arn = each.value
  tags          = local.tags
}

resource "aws_eks_access_policy_association" "admin" {
  for_each      = aws_eks_access_entry.admin
  cluster_name  = aws_eks_cluster.cluster.name
  principal_arn = each.value.principal_arn
  policy_arn    = "arn:${data.aws_partition.current.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}

# The add-ons, at the version that is AWS' default for the cluster's. The network has to be there before the nodes; CoreDNS
# runs on them.

resource "aws_eks_addon" "network" {
  for_each     = toset(["vpc-cni", "kube-proxy"])
  cluster_name = aws_eks_cluster.cluster.name
  addon_name   = each.value
  tags         = local.tags
  # A cluster that an earlier version made has them unmanaged.
  resolve_conflicts_on_create = "OVERWRITE"
  # The interfaces that the network makes for pods outlive a node by some minutes: they say whose they are.
  configuration_values = each.value != "vpc-cni" ? null : jsonencode({
    env = { ADDITIONAL_ENI_TAGS = jsonencode(local.tags) }
  })
}

resource "aws_eks_addon" "dns" {
  cluster_name                = aws_eks_cluster.cluster.name
  addon_name                  = "coredns"
  tags                        = local.tags
  resolve_conflicts_on_create = "OVERWRITE"
  depends_on                  = [aws_eks_node_group.nodes]
}

# The nodes.

resource "aws_launch_template" "node" {
  name                   = "${local.role_prefix}-node"
  update_default_version = true
  tags                   = local.tags

  # Version 2 of the metadata service only, one hop: pods do not get at it.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  # The root volume of Amazon Linux.
  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = var.volume_gib
      encrypted             = "true"
      delete_on_termination = "true"
    }
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume", "network-interface"])
    content {
      resource_type = tag_specifications.value
      tags          = local.tags
    }
  }
}

resource "aws_eks_node_group" "nodes" {
  cluster_name    = aws_eks_cluster.cluster.name
  node_group_name = "nodes"
  node_role_arn   = aws_iam_role.node.arn
  subnet_ids      = local.gateways == 0 ? aws_subnet.public[*].id : aws_subnet.private[*].id
  instance_types  = [var.instance_type]
  ami_type        = var.ami_type
  tags            = local.tags

  launch_template {
    id      = aws_launch_template.node.id
    version = aws_launch_template.node.latest_version
  }

  scaling_config {
    min_size     = var.nodes.min
    desired_size = var.nodes.desired
    max_size     = var.nodes.max
  }

  lifecycle {
    # It grows when pods do not fit, and gives back what is empty. Whoever upgrades it does so by hand.
    ignore_changes = [scaling_config[0].desired_size, version]
  }

  # Nodes that cannot reach AWS, or may not, never become ready.
  depends_on = [
    aws_iam_role_policy_attachment.node,
    aws_route.nat,
    aws_route_table_association.private,
    aws_eks_addon.network,
  ]
}
