terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Only arguments that all of these know.
      version = ">= 3.39, < 7"
    }
  }
}

# Credentials come from the environment.
provider "aws" {
  region = var.region
}
