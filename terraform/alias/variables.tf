variable "region" {
  type        = string
  description = "Region of AWS."
}

variable "host" {
  type        = string
  description = "Host name of the application."
}

variable "zone_id" {
  type        = string
  description = "Public hosted zone that the name lies in."
}

variable "balancer_name" {
  type        = string
  description = "DNS name of the load balancer."
}

variable "balancer_zone_id" {
  type        = string
  description = "Hosted zone of the load balancer's own name, which AWS tells."
}
