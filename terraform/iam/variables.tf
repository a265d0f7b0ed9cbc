variable "modes" {
  type        = set(string)
  description = "Modes that the server may deploy in."
  default     = ["cloud-local", "cloud-hosted"]

  validation {
    condition     = length(setsubtract(var.modes, ["cloud-local", "cloud-hosted"])) == 0
    error_message = "The modes are cloud-local and cloud-hosted."
  }
}

variable "name" {
  type        = string
  description = "Name of the user and of the role; those of the policies begin with it."
  default     = "on-demand-infra"
}

variable "region" {
  type        = string
  description = "The one region in which the server may do anything; * for every one."
  default     = "*"
}

variable "zone" {
  type        = string
  description = "Id of the one hosted zone of Route53 in which it may make names; * for every one."
  default     = "*"
}

variable "user" {
  type        = bool
  description = "Whether to make a user. Access keys are made by hand: Terraform's state would hold the secret."
  default     = false
}

variable "trusted" {
  type        = map(list(string))
  description = "Who may assume the role, by kind of principal, such as { Service = [\"ec2.amazonaws.com\"] }. Without any there is no role."
  default     = {}
}
