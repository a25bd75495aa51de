output "queue_url" {
  description = "The URL for the setting queues of jibe-sqs."
  value       = aws_sqs_queue.queue.url
}

output "queue_arn" {
  description = "For the modules region and service."
  value       = aws_sqs_queue.queue.arn
}

output "dead_letter_queue_url" {
  description = "Holds messages that could not be handled."
  value       = aws_sqs_queue.dead_letters.url
}

output "dead_letter_queue_arn" {
  description = "For the module service."
  value       = aws_sqs_queue.dead_letters.arn
}
