variable "region" {
  type        = string
  description = "Region of AWS."
}

variable "name" {
  type        = string
  description = "Name of the repository."
}

variable "tags" {
  type        = map(string)
  description = "Tags of every resource, which say whose it is."
  default     = {}
}

variable "keep_images" {
  type        = number
  description = "How many images stay; older ones are removed by ECR."
  default     = 30
}
