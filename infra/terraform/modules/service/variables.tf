variable "name" {
  description = "Name of the service, the cluster and the log group."
  type        = string
  default     = "jibe-sqs"
}

variable "image" {
  description = "The container image, with its tag or digest."
  type        = string
}

variable "image_repository_arn" {
  description = "ARN of the image's repository, if it is in ECR. Null for another registry."
  type        = string
  default     = null
}

variable "cpu_architecture" {
  description = "What the image was built for: X86_64 or ARM64."
  type        = string
  default     = "X86_64"
}

variable "subnets" {
  description = "Subnets that can reach AWS and Access Anywhere."
  type        = list(string)
}

variable "security_groups" {
  description = "Security groups that allow outgoing HTTPS. Nothing needs to come in."
  type        = list(string)
}

variable "assign_public_ip" {
  description = "True only in a public subnet without a NAT gateway."
  type        = bool
  default     = false
}

variable "configuration" {
  description = "The configuration of jibe-sqs: an object with the keys of docs/reference/configuration.md, without secrets. It is stored in a parameter of Systems Manager, and a change needs no new task."
  type        = any
}

variable "account_secret_arn" {
  description = "ARN of the Secrets Manager secret with Access Anywhere's account: a JSON object with the keys login and password."
  type        = string
}

variable "more_secret_arns" {
  description = "ARNs of other secrets, or of parameters of Systems Manager, to which the configuration refers. Without keys and versions."
  type        = list(string)
  default     = []
}

variable "queue_arns" {
  description = "ARNs of the queues to consume."
  type        = list(string)
}

variable "dead_letter_queue_arns" {
  description = "ARNs of their dead-letter queues. Empty, if they have none."
  type        = list(string)
}

variable "log_bucket_arns" {
  description = "ARNs of the buckets with log files. Empty, if only S3 events are read."
  type        = list(string)
  default     = []
}

variable "data_bucket_arns" {
  description = "ARNs of the data buckets, if jibe-sqs may list them to compare them with Access Anywhere."
  type        = list(string)
  default     = []
}

variable "verify_logs" {
  description = "Whether the configuration has logs.verify, which needs CloudTrail's public keys."
  type        = bool
  default     = false
}

variable "find_log_buckets" {
  description = "Whether the configuration has logs.bucket \"*\" with sweeps, which need the names of all buckets."
  type        = bool
  default     = false
}

variable "directory_bucket_arns" {
  description = "ARNs of directory buckets, if jibe-sqs may list them to compare them: arn:aws:s3express:REGION:ACCOUNT:bucket/NAME."
  type        = list(string)
  default     = []
}

variable "alert_topic_arn" {
  description = "ARN of the topic in alerts.topic of the configuration. Null: no such topic."
  type        = string
  default     = null
}

variable "audit_channel_arn" {
  description = "ARN of the channel in audit.channel of the configuration. Null: no such channel."
  type        = string
  default     = null
}

variable "role_arns" {
  description = "ARNs of the roles that the configuration assumes (role_arn)."
  type        = list(string)
  default     = []
}

variable "ledger_table_arn" {
  description = "ARN of the ledger that all tasks share. Null: each task has its own, which ends with the task."
  type        = string
  default     = null
}

variable "kms_key_arns" {
  description = "ARNs of the customer managed keys of log files, queues, table, secrets, parameter and the topic of alerts."
  type        = list(string)
  default     = []
}

variable "desired_count" {
  description = "Number of tasks. More than one should share a ledger."
  type        = number
  default     = 1
}

variable "cpu" {
  description = "CPU units of a task: 1024 is one core."
  type        = number
  default     = 512
}

variable "memory" {
  description = "MiB of a task. Fargate must offer it for the cpu."
  type        = number
  default     = 1024
}

variable "log_retention_days" {
  description = "Days for which CloudWatch keeps the log."
  type        = number
  default     = 30
}
