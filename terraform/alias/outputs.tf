output "host" {
  description = "Host name of the application."
  value       = aws_route53_record.application.fqdn
}
