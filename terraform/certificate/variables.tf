variable "region" {
  type        = string
  description = "Region of AWS."
}

variable "host" {
  type        = string
  description = "Host name that the certificate is for."
}

variable "zone_id" {
  type        = string
  description = "Public hosted zone that the name lies in."
}

variable "tags" {
  type        = map(string)
  description = "Tags of the certificate, which say whose it is."
  default     = {}
}
