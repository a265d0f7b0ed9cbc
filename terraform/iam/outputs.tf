output "policy_arns" {
  description = "The policies, by the name of their document."
  value       = { for name, policy in aws_iam_policy.mode : name => policy.arn }
}

output "user_name" {
  description = "The user, when one was asked for."
  value       = one(aws_iam_user.server[*].name)
}

output "role_arn" {
  description = "The role, when somebody may assume it."
  value       = one(aws_iam_role.server[*].arn)
}
