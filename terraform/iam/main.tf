data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  # A mode has one policy or several, as AWS limits the length of each.
  documents = {
    for file in fileset(path.module, "*.json") : trimsuffix(file, ".json") => templatefile("${path.module}/${file}", {
      partition = data.aws_partition.current.partition
      account   = data.aws_caller_identity.current.account_id
      region    = var.region
      zone      = var.zone
    }) if anytrue([for mode in var.modes : startswith(file, mode)])
  }
}

resource "aws_iam_policy" "mode" {
  for_each    = local.documents
  name        = "${var.name}-${each.key}"
  description = "What on-demand-infra may do"
  policy      = each.value
}

resource "aws_iam_user" "server" {
  #checkov:skip=CKV_AWS_273: made only when asked for, for a server that no role can reach
  count = var.user ? 1 : 0
  name  = var.name
}

resource "aws_iam_user_policy_attachment" "server" {
  #checkov:skip=CKV_AWS_40: the user is one program's, and a group would have no other member
  for_each   = var.user ? aws_iam_policy.mode : {}
  user       = aws_iam_user.server[0].name
  policy_arn = each.value.arn
}

resource "aws_iam_role" "server" {
  count = length(var.trusted) == 0 ? 0 : 1
  name  = var.name
  # A deploy with an EKS cluster may take longer than the hour that AWS gives by default.
  max_session_duration = 7200
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = var.trusted, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy_attachment" "server" {
  for_each   = length(var.trusted) == 0 ? {} : aws_iam_policy.mode
  role       = aws_iam_role.server[0].name
  policy_arn = each.value.arn
}
