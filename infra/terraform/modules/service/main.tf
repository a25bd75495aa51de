# jibe-sqs as a Fargate service, in any region that reaches Access Anywhere.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  partition   = data.aws_partition.current.partition
  account     = data.aws_caller_identity.current.account_id
  region      = data.aws_region.current.name
  ledger_path = "/var/lib/jibe"
}

resource "aws_ssm_parameter" "configuration" {
  name  = "/${var.name}/configuration"
  type  = "String"
  tier  = "Intelligent-Tiering" # more than 4 KiB needs an advanced parameter
  value = jsonencode(var.configuration)
}

resource "aws_ecs_cluster" "cluster" {
  name = var.name
}

resource "aws_cloudwatch_log_group" "log" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_retention_days
}

data "aws_iam_policy_document" "ecs_tasks" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:ecs:${local.region}:${local.account}:*"]
    }
  }
}

# The permissions of jibe-sqs itself.
data "aws_iam_policy_document" "task" {
  statement {
    sid       = "Consume"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
    resources = var.queue_arns
  }

  dynamic "statement" {
    for_each = length(var.dead_letter_queue_arns) == 0 ? [] : [var.dead_letter_queue_arns]

    content {
      sid       = "DeadLetter"
      actions   = ["sqs:SendMessage", "sqs:GetQueueUrl"]
      resources = statement.value
    }
  }

  statement {
    sid       = "ReadConfiguration"
    actions   = ["ssm:GetParameter"]
    resources = [aws_ssm_parameter.configuration.arn]
  }

  statement {
    sid       = "ReadAccount"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [var.account_secret_arn]
  }

  dynamic "statement" {
    for_each = length(var.more_secret_arns) == 0 ? [] : [var.more_secret_arns]

    content {
      sid       = "ReadSecrets"
      actions   = ["secretsmanager:GetSecretValue", "ssm:GetParameter"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(var.log_bucket_arns) == 0 ? [] : [var.log_bucket_arns]

    content {
      sid       = "ReadLogs"
      actions   = ["s3:GetObject", "s3:GetObjectVersion"]
      resources = [for arn in statement.value : "${arn}/*"]
    }
  }

  # Log buckets: without it, S3 answers 403 and not 404 for a file that does not exist. Data buckets: to compare them.
  dynamic "statement" {
    for_each = length(concat(var.log_bucket_arns, var.data_bucket_arns)) == 0 ? [] : [concat(var.log_bucket_arns, var.data_bucket_arns)]

    content {
      sid       = "ListBuckets"
      actions   = ["s3:ListBucket"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = var.verify_logs ? ["*"] : []

    content {
      sid       = "Verify"
      actions   = ["cloudtrail:ListPublicKeys"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.find_log_buckets ? ["*"] : []

    content {
      sid       = "FindBuckets"
      actions   = ["s3:ListAllMyBuckets"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = length(var.directory_bucket_arns) == 0 ? [] : [var.directory_bucket_arns]

    content {
      sid       = "CompareExpress"
      actions   = ["s3express:CreateSession"]
      resources = statement.value

      # Other sessions may write. S3 takes the allowed mode if the client names none.
      condition {
        test     = "StringEquals"
        variable = "s3express:SessionMode"
        values   = ["ReadOnly"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.ledger_table_arn == null ? [] : [var.ledger_table_arn]

    content {
      sid       = "Remember"
      actions   = ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:BatchWriteItem"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.alert_topic_arn == null ? [] : [var.alert_topic_arn]

    content {
      sid       = "Alert"
      actions   = ["sns:Publish"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.audit_channel_arn == null ? [] : [var.audit_channel_arn]

    content {
      sid       = "Audit"
      actions   = ["cloudtrail-data:PutAuditEvents"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = length(var.role_arns) == 0 ? [] : [var.role_arns]

    content {
      sid       = "AssumeRoles"
      actions   = ["sts:AssumeRole"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(var.kms_key_arns) == 0 ? [] : [var.kms_key_arns]

    content {
      sid       = "Decrypt"
      actions   = ["kms:Decrypt"]
      resources = statement.value

      condition {
        test     = "StringLike"
        variable = "kms:ViaService"
        values   = [for service in ["dynamodb", "s3", "secretsmanager", "sns", "sqs", "ssm"] : "${service}.*.amazonaws.com*"]
      }
    }
  }

  # For dead letters and alerts.
  dynamic "statement" {
    for_each = length(var.kms_key_arns) == 0 ? [] : [var.kms_key_arns]

    content {
      sid       = "Encrypt"
      actions   = ["kms:GenerateDataKey"]
      resources = statement.value

      condition {
        test     = "StringLike"
        variable = "kms:ViaService"
        values   = [for service in ["sns", "sqs"] : "${service}.*.amazonaws.com*"]
      }
    }
  }
}

resource "aws_iam_role" "task" {
  name_prefix        = "${var.name}-task-"
  assume_role_policy = data.aws_iam_policy_document.ecs_tasks.json
}

resource "aws_iam_role_policy" "task" {
  name   = "jibe-sqs"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task.json
}

# The permissions that ECS needs to start a task.
data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.log.arn}:*"]
  }

  dynamic "statement" {
    for_each = var.image_repository_arn == null ? [] : [var.image_repository_arn]

    content {
      sid       = "PullImage"
      actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.image_repository_arn == null ? [] : ["*"]

    content {
      sid       = "LogInToEcr"
      actions   = ["ecr:GetAuthorizationToken"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "execution" {
  name_prefix        = "${var.name}-start-"
  assume_role_policy = data.aws_iam_policy_document.ecs_tasks.json
}

resource "aws_iam_role_policy" "execution" {
  name   = "start"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

resource "aws_ecs_task_definition" "task" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  # It lives as long as the task. Without a table, a new task starts with an empty ledger: this costs a few refreshes.
  volume {
    name = "ledger"
  }

  container_definitions = jsonencode([{
    name                   = "jibe-sqs"
    image                  = var.image
    essential              = true
    readonlyRootFilesystem = true
    mountPoints            = [{ sourceVolume = "ledger", containerPath = local.ledger_path, readOnly = false }]
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    # The maximum of Fargate. JIBE_DRAIN_TIMEOUT is 35 seconds shorter, so that the service stops by itself.
    stopTimeout = 120
    healthCheck = {
      command = ["CMD", "python", "-c", join(" ", [
        "import http.client, sys;",
        "asked = http.client.HTTPConnection(\"127.0.0.1\", 8080, timeout=4);",
        "asked.request(\"GET\", \"/livez\");",
        "sys.exit(asked.getresponse().status != 200)",
      ])]
      interval    = 30
      timeout     = 5
      retries     = 3
      startPeriod = 60
    }
    environment = [
      { name = "JIBE_CONFIG", value = aws_ssm_parameter.configuration.arn },
      { name = "JIBE_ACCESS_ANYWHERE__LOGIN", value = "${var.account_secret_arn}#login" },
      { name = "JIBE_ACCESS_ANYWHERE__PASSWORD", value = "${var.account_secret_arn}#password" },
      { name = "JIBE_LEDGER__KIND", value = var.ledger_table_arn == null ? "sqlite" : "dynamodb" },
      { name = "JIBE_LEDGER__TABLE", value = var.ledger_table_arn == null ? "" : var.ledger_table_arn },
      { name = "JIBE_LEDGER__PATH", value = "${local.ledger_path}/ledger.sqlite" },
      { name = "JIBE_DRAIN_TIMEOUT", value = "85" },
      { name = "JIBE_LOG__FORMAT", value = "json" },
      { name = "JIBE_HTTP__HOST", value = "127.0.0.1" },
      { name = "JIBE_HTTP__PORT", value = "8080" },
    ]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.log.name
        "awslogs-region"        = local.region
        "awslogs-stream-prefix" = "jibe-sqs"
        "mode"                  = "non-blocking"
        "max-buffer-size"       = "10m"
      }
    }
  }])
}

resource "aws_ecs_service" "service" {
  name            = var.name
  cluster         = aws_ecs_cluster.cluster.id
  launch_type     = "FARGATE"
  task_definition = aws_ecs_task_definition.task.arn
  desired_count   = var.desired_count
  propagate_tags  = "SERVICE"

  # Old and new tasks may run side by side: they share the queue, and refreshing twice is harmless.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnets
    security_groups  = var.security_groups
    assign_public_ip = var.assign_public_ip
  }

  depends_on = [aws_iam_role_policy.task, aws_iam_role_policy.execution]
}
