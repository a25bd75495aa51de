variable "queue_arn" {
  description = "ARN of the queue, from the module central. SNS delivers to it across regions."
  type        = string
}

variable "topic_name" {
  description = "Name of the topic. The queue accepts messages only from topics with the topic_name of the module central."
  type        = string
  default     = "jibe-log-delivery"
}

variable "publisher_services" {
  description = "Services that may publish. Add s3.amazonaws.com for S3 event notifications of data buckets."
  type        = list(string)
  default     = ["cloudtrail.amazonaws.com"]
}

variable "publisher_accounts" {
  description = "Accounts that own the trails and buckets. Empty: this account."
  type        = list(string)
  default     = []
}

variable "kms_key_arn" {
  description = "ARN of a customer managed key for topic and dead-letter queue, whose policy allows the publishers and sns.amazonaws.com to use it. Null: the topic is not encrypted."
  type        = string
  default     = null
}

variable "alarm_topic_arn" {
  description = "ARN of an SNS topic of this region for alarms. Null: alarms without an action."
  type        = string
  default     = null
}
