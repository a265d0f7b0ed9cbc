variable "region" {
  type        = string
  description = "Region of AWS."
}

variable "name" {
  type        = string
  description = "Name of the cluster."
}

variable "target" {
  type        = string
  description = "Id of what the cluster is made for; names that are unique in an account carry it."
}

variable "tags" {
  type        = map(string)
  description = "Tags of every resource, which say whose it is."
  default     = {}
}

variable "zones" {
  type        = list(string)
  description = "Two or three availability zones."
}

variable "vpc_cidr" {
  type        = string
  description = "Addresses of the network; each subnet takes a sixteenth."
  default     = "10.0.0.0/16"
}

variable "nat" {
  type        = string
  description = "NAT gateways: none (nodes have public addresses), one, or per-zone."
  default     = "one"
}

variable "kubernetes_version" {
  type        = string
  description = "Kubernetes version in EKS' standard support; without, AWS' own default."
  default     = null
}

variable "support_type" {
  type        = string
  description = "STANDARD, or EXTENDED for a version that is past its standard support."
  default     = "STANDARD"
}

variable "admin_arns" {
  type        = list(string)
  description = "ARNs of IAM users and roles that administer the cluster, beside whoever makes it."
  default     = []
}

variable "public_access_cidrs" {
  type        = list(string)
  description = "Ranges of addresses that reach the API."
  default     = ["0.0.0.0/0"]
}

variable "logs" {
  type        = list(string)
  description = "Logs of the control plane that go to CloudWatch."
  default     = ["api", "audit", "authenticator"]
}

variable "encrypt_secrets" {
  type        = bool
  description = "Whether Secrets are encrypted with a KMS key of the cluster's own."
  default     = false
}

variable "instance_type" {
  type        = string
  description = "Type of the nodes."
  default     = "t3.medium"
}

variable "ami_type" {
  type        = string
  description = "Machine image of the nodes, of the architecture of their type."
  default     = "AL2023_x86_64_STANDARD"
}

variable "volume_gib" {
  type        = number
  description = "Size of a node's volume in GiB."
  default     = 20
}

variable "nodes" {
  type        = object({ min = number, desired = number, max = number })
  description = "How many nodes."
}
