variable "region" {
  description = "The region of the service and of the trail."
  type        = string
}

variable "image" {
  description = "The container image, with its tag or digest."
  type        = string
}

variable "image_repository_arn" {
  description = "ARN of the image's repository, if it is in ECR."
  type        = string
  default     = null
}

variable "subnets" {
  description = "Subnets that can reach AWS and Access Anywhere."
  type        = list(string)
}

variable "security_groups" {
  description = "Security groups that allow outgoing HTTPS."
  type        = list(string)
}

variable "access_anywhere_endpoint" {
  description = "Address of Access Anywhere, such as https://files.example.com."
  type        = string
}

variable "account_secret_arn" {
  description = "ARN of the Secrets Manager secret with Access Anywhere's account: a JSON object with the keys login and password."
  type        = string
}

variable "buckets" {
  description = "Each data bucket and its folder in Access Anywhere, such as { media = \"/Amazon S3/media\" }."
  type        = map(string)
}

variable "own_write_principals" {
  description = "ARNs with which Access Anywhere itself writes. Their writes need no refresh."
  type        = list(string)
  default     = []
}

variable "alarm_topic_arn" {
  description = "ARN of an SNS topic for alarms."
  type        = string
  default     = null
}
