variable "topic_arn" {
  description = "ARN of the topic of this region, from the module region."
  type        = string
}

variable "data_buckets" {
  description = "Names of the general purpose buckets to log. Empty: all buckets of the account but the log bucket."
  type        = list(string)
  default     = []
}

variable "directory_bucket_arns" {
  description = "ARNs of directory buckets (S3 Express One Zone): arn:aws:s3express:REGION:ACCOUNT:bucket/NAME--ZONE--x-s3. Empty: all of the account."
  type        = list(string)
  default     = []
}

variable "name" {
  description = "Name of the trail."
  type        = string
  default     = "jibe-data-events"
}

variable "log_bucket_name" {
  description = "Name of the log bucket, which is created. Null: jibe-logs-ACCOUNT-REGION."
  type        = string
  default     = null
}

variable "log_days" {
  description = "Days after which log files expire. They must outlast the retention of the queue."
  type        = number
  default     = 90

  validation {
    condition     = var.log_days >= 30
    error_message = "Log files must outlast the 14 days of the queue, and a backfill after it: keep them for 30 days or more."
  }
}

variable "kms_key_arn" {
  description = "ARN of a customer managed key for the log files, whose policy allows cloudtrail.amazonaws.com to use it. Null: S3's own encryption."
  type        = string
  default     = null
}
