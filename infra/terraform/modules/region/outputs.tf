output "topic_arn" {
  description = "The topic to name in the trail. It is known only when CloudTrail may publish to it."
  value       = aws_sns_topic.topic.arn
  depends_on  = [aws_sns_topic_policy.topic]
}

output "undelivered_queue_url" {
  description = "Holds announcements that SNS could not deliver to the queue."
  value       = aws_sqs_queue.undelivered.url
}
