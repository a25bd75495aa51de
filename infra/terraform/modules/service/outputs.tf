output "cluster_name" {
  description = "The cluster."
  value       = aws_ecs_cluster.cluster.name
}

output "service_name" {
  description = "The service."
  value       = aws_ecs_service.service.name
}

output "log_group_name" {
  description = "Where the log is."
  value       = aws_cloudwatch_log_group.log.name
}

output "task_role_arn" {
  description = "For the policies of a log bucket, a queue or a key in another account."
  value       = aws_iam_role.task.arn
}
