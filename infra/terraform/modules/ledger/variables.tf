variable "name" {
  description = "Name of the table."
  type        = string
  default     = "jibe-ledger"
}

variable "kms_key_arn" {
  description = "ARN of a customer managed key. Null: DynamoDB's own encryption."
  type        = string
  default     = null
}
