variable "region" {
  type        = string
  description = "Region of AWS."
}

variable "name" {
  type        = string
  description = "Name tag of the instance."
}

variable "tags" {
  type        = map(string)
  description = "Tags of every resource, which say whose it is."
  default     = {}
}

variable "instance_type" {
  type        = string
  description = "Type of the instance; a cluster and an application need 4 GiB of memory."
  default     = "t3.medium"
}

variable "ami_id" {
  type        = string
  description = "Machine image; without, the newest that fits ami_owner and ami_name."
  default     = null
}

variable "ami_owner" {
  type        = string
  description = "Who made the machine image."
  default     = "amazon"
}

variable "ami_name" {
  type        = string
  description = "Name of the machine image, with * for any text."
  default     = "al2023-ami-2023.*-x86_64"
}

variable "volume_gib" {
  type        = number
  description = "Size of the root volume in GiB."
  default     = 30
}

variable "key_name" {
  type        = string
  description = "Existing EC2 key pair that logs in."
}

variable "subnet_id" {
  type        = string
  description = "Public subnet; without, one that AWS chooses in the default VPC."
  default     = null
}

variable "ssh_cidr" {
  type        = string
  description = "Range of addresses from which ssh is accepted."
}

variable "node_ports" {
  type        = object({ first = number, last = number })
  description = "Ports on which applications answer everyone."
}
