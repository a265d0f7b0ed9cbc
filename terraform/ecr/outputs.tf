output "repository_url" {
  description = "Address of the repository, without a tag."
  value       = aws_ecr_repository.application.repository_url
}
