output "certificate_arn" {
  description = "ARN of the certificate, which may not be issued yet."
  value       = aws_acm_certificate.application.arn
}
