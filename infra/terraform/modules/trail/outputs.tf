output "log_bucket_name" {
  description = "For the setting logs of jibe-sqs."
  value       = aws_s3_bucket.logs.id
}

output "log_bucket_arn" {
  description = "For the module service."
  value       = aws_s3_bucket.logs.arn
}

output "trail_arn" {
  description = "ARN of the trail."
  value       = aws_cloudtrail.trail.arn
}
