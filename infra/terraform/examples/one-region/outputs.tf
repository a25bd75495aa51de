output "queue_url" {
  description = "The queue that jibe-sqs consumes."
  value       = module.central.queue_url
}

output "log_group_name" {
  description = "Where the log of the service is."
  value       = module.service.log_group_name
}
