output "instance_id" {
  description = "Id of the instance."
  value       = aws_instance.host.id
}

output "public_ip" {
  description = "Public address of the instance."
  value       = aws_instance.host.public_ip
}

output "availability_zone" {
  description = "Zone that the instance lies in."
  value       = aws_instance.host.availability_zone
}

output "ami_id" {
  description = "Machine image of the instance."
  value       = aws_instance.host.ami
}

output "security_group_id" {
  description = "Security group of the instance."
  value       = aws_security_group.instance.id
}
