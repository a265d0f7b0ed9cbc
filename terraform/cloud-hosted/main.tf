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

# The argument that says "in a VPC" has another name since version 5 of the provider, and AWS knows no other addresses any
# more. But version 3 then takes no tags here.
resource "aws_eip" "nat" {
  count      = local.gateways
  depends_on = [aws_internet_gateway.cluster]

  lifecycle {
    ignore_changes = [tags, tags_all]
  }
}

# Version 3 calls an address by itself until it is looked up.
data "aws_eip" "nat" {
  count     = local.gateways
  public_ip = aws_eip.nat[count.index].public_ip
}

resource "aws_ec2_tag" "nat" {
  for_each    = { for it in setproduct(range(local.gateways), keys(local.tags)) : "${it[0]}/${it[1]}" => it }
  resource_id = data.aws_eip.nat[each.value[0]].id
  key         = each.value[1]
  value       = local.tags[each.value[1]]
}

resource "aws_nat_gateway" "cluster" {
  count         = local.gateways
  allocation_id = data.aws_eip.nat[count.index].id
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
  count             = length(var.logs) == 0 ? 0 : 1
  name              = "/aws/eks/${var.name}/cluster"
  retention_in_days = 7
  tags              = local.tags
}

resource "aws_kms_key" "secrets" {
  count                   = var.encrypt_secrets ? 1 : 0
  description             = "Secrets of the EKS cluster ${var.name}"
  deletion_window_in_days = 7
  enable_key_rotation     = true
  tags                    = local.tags
}

resource "aws_eks_cluster" "cluster" {
  name                      = var.name
  version                   = var.kubernetes_version
  role_arn                  = aws_iam_role.cluster.arn
  enabled_cluster_log_types = var.logs
  tags                      = local.tags

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

  # They outlive the cluster: without them EKS cannot clear away what it made.
  depends_on = [
    aws_iam_role_policy_attachment.cluster,
    aws_cloudwatch_log_group.cluster,
    aws_route.internet,
    aws_route_table_association.public,
  ]
}

resource "aws_eks_node_group" "nodes" {
  cluster_name    = aws_eks_cluster.cluster.name
  node_group_name = "nodes"
  node_role_arn   = aws_iam_role.node.arn
  subnet_ids      = local.gateways == 0 ? aws_subnet.public[*].id : aws_subnet.private[*].id
  instance_types  = [var.instance_type]
  disk_size       = var.volume_gib
  tags            = local.tags

  scaling_config {
    min_size     = var.nodes.min
    desired_size = var.nodes.desired
    max_size     = var.nodes.max
  }

  lifecycle {
    # It grows when pods do not fit.
    ignore_changes = [scaling_config[0].desired_size]
  }

  # Nodes that cannot reach AWS, or may not, never become ready.
  depends_on = [
    aws_iam_role_policy_attachment.node,
    aws_route.nat,
    aws_route_table_association.private,
  ]
}
