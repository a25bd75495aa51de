# Everything for one account and one region. For a second region with a trail: the module region again, with that region's provider.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

data "aws_partition" "current" {}

module "central" {
  source          = "../../modules/central"
  alarm_topic_arn = var.alarm_topic_arn
}

module "region" {
  source          = "../../modules/region"
  queue_arn       = module.central.queue_arn
  alarm_topic_arn = var.alarm_topic_arn
}

module "trail" {
  source       = "../../modules/trail"
  topic_arn    = module.region.topic_arn
  data_buckets = keys(var.buckets)
}

module "ledger" {
  source = "../../modules/ledger"
}

module "service" {
  source                 = "../../modules/service"
  image                  = var.image
  image_repository_arn   = var.image_repository_arn
  subnets                = var.subnets
  security_groups        = var.security_groups
  account_secret_arn     = var.account_secret_arn
  queue_arns             = [module.central.queue_arn]
  dead_letter_queue_arns = [module.central.dead_letter_queue_arn]
  log_bucket_arns        = [module.trail.log_bucket_arn]
  data_bucket_arns       = [for name in keys(var.buckets) : "arn:${data.aws_partition.current.partition}:s3:::${name}"]
  ledger_table_arn       = module.ledger.ledger_table_arn
  desired_count          = 2

  configuration = {
    access_anywhere = { endpoint = var.access_anywhere_endpoint }
    queues          = [{ url = module.central.queue_url }]
    # Sweeps find the files whose announcement was lost.
    logs       = [{ bucket = module.trail.log_bucket_name, sweep = "15m" }]
    buckets    = var.buckets
    own_writes = { principals = var.own_write_principals }
  }
}
