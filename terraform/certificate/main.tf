resource "aws_acm_certificate" "application" {
  domain_name       = var.host
  validation_method = "DNS"
  tags              = merge(var.tags, { Name = var.host })

  lifecycle {
    create_before_destroy = true
  }
}

# Whether AWS has found them is not waited for here: a zone that nobody delegates to may take a person to correct.
resource "aws_route53_record" "validation" {
  for_each = {
    for it in aws_acm_certificate.application.domain_validation_options : it.domain_name => it
  }

  zone_id         = var.zone_id
  name            = each.value.resource_record_name
  type            = each.value.resource_record_type
  ttl             = 60
  records         = [each.value.resource_record_value]
  allow_overwrite = true
}
