output "endpoint" {
  description = "Address of the cluster's API."
  value       = aws_eks_cluster.cluster.endpoint
}

output "vpc_id" {
  description = "Network of the cluster."
  value       = aws_vpc.cluster.id
}
