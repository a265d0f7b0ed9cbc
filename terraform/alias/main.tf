resource "aws_route53_record" "application" {
  zone_id = var.zone_id
  name    = var.host
  type    = "A"

  alias {
    name                   = var.balancer_name
    zone_id                = var.balancer_zone_id
    evaluate_target_health = false
  }
}
