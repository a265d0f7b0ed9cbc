terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

# IAM is the same in every region of a partition.
provider "aws" {
  region = var.region == "*" ? "us-east-1" : var.region
}
