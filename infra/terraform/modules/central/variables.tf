variable "name" {
  description = "Name of the queue. Its dead-letter queue has the same name with \"-dead-letters\" at its end."
  type        = string
  default     = "jibe-log-delivery"
}

variable "topic_name" {
  description = "Name of the SNS topics, and of the EventBridge rules, that may send to the queue, in this account and in any region. May hold the wildcards * and ?."
  type        = string
  default     = "jibe-log-delivery"
}

variable "service_principals" {
  description = "Services that deliver to the queue. To or from an opt-in region, SNS delivers as sns.REGION.amazonaws.com."
  type        = list(string)
  default     = ["sns.amazonaws.com", "events.amazonaws.com"]
}

variable "retention_days" {
  description = "Days for which a message waits. An outage that takes longer loses announcements. 14 is the most that SQS allows."
  type        = number
  default     = 14

  validation {
    condition     = var.retention_days >= 1 && var.retention_days <= 14
    error_message = "SQS keeps messages for 1 to 14 days."
  }
}

variable "visibility_timeout" {
  description = "Seconds until a message returns after a crash. jibe-sqs extends it while it works on a message."
  type        = number
  default     = 120

  validation {
    condition     = var.visibility_timeout >= 30 && var.visibility_timeout <= 43200
    error_message = "The visibility timeout must be between 30 and 43200 seconds."
  }
}

variable "max_receives" {
  description = "How often a message is received before SQS moves it to the dead-letter queue."
  type        = number
  default     = 10
}

variable "kms_key_arn" {
  description = "ARN of a customer managed key for the queues, whose policy allows the service principals to use it. Null: SQS's own encryption."
  type        = string
  default     = null
}

variable "alarm_topic_arn" {
  description = "ARN of an SNS topic for alarms. Null: alarms without an action."
  type        = string
  default     = null
}

variable "oldest_message_minutes" {
  description = "Minutes that a message may wait before the alarm."
  type        = number
  default     = 30
}

variable "silent_hours" {
  description = "Hours without a new message before the alarm. Null: no such alarm."
  type        = number
  default     = 6
}
