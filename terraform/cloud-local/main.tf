data "aws_ami" "newest" {
  count       = var.ami_id == null ? 1 : 0
  most_recent = true
  owners      = [var.ami_owner]

  filter {
    name   = "name"
    values = [var.ami_name]
  }

  filter {
    name   = "state"
    values = ["available"]
  }
}

data "aws_subnet" "given" {
  count = var.subnet_id == null ? 0 : 1
  id    = var.subnet_id
}

locals {
  tags = merge(var.tags, { Name = var.name })
}

resource "aws_security_group" "instance" {
  #checkov:skip=CKV_AWS_382:What applications and builds ask for is on the whole internet.
  name_prefix = "${var.name}-"
  description = "ssh from one range, the node ports from everywhere"
  vpc_id      = var.subnet_id == null ? null : data.aws_subnet.given[0].vpc_id
  tags        = local.tags

  ingress {
    description = "ssh"
    protocol    = "tcp"
    from_port   = 22
    to_port     = 22
    cidr_blocks = [var.ssh_cidr]
  }

  ingress {
    description = "applications"
    protocol    = "tcp"
    from_port   = var.node_ports.first
    to_port     = var.node_ports.last
    cidr_blocks = ["0.0.0.0/0"]
  }

  egress {
    description = "everything"
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_instance" "host" {
  #checkov:skip=CKV_AWS_88:Its applications are reached at its public address.
  #checkov:skip=CKV_AWS_126:Detailed monitoring costs by the instance and says nothing of the applications.
  #checkov:skip=CKV_AWS_135:Types of today are optimised for EBS by themselves, and others refuse the argument.
  #checkov:skip=CKV2_AWS_41:Nothing on it calls AWS, so it needs no role.
  ami                         = var.ami_id == null ? data.aws_ami.newest[0].id : var.ami_id
  instance_type               = var.instance_type
  key_name                    = var.key_name
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [aws_security_group.instance.id]
  associate_public_ip_address = true
  tags                        = local.tags
  volume_tags                 = local.tags

  # Version 2 of the metadata service only, one hop: containers do not get at it.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = var.volume_gib
    encrypted             = true
    delete_on_termination = true
  }

  lifecycle {
    # A newer image is no reason to lose what runs on the instance.
    ignore_changes = [ami]
  }
}
