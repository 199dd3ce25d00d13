# A REST API of one's own with its protection: people are notified, an alarm of one's own may trigger a rollback, and the
# release is already in the bucket.

variable "bucket" {
  description = "S3 bucket in the Region of the provider, with the release below apigw-rollback/"
  type        = string
}

resource "aws_api_gateway_rest_api" "orders" {
  name = "orders"
  body = file("${path.module}/openapi.json")
}

resource "aws_api_gateway_deployment" "orders" {
  rest_api_id = aws_api_gateway_rest_api.orders.id
  triggers    = { redeployment = sha256(aws_api_gateway_rest_api.orders.body) }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_api_gateway_stage" "prod" {
  rest_api_id   = aws_api_gateway_rest_api.orders.id
  deployment_id = aws_api_gateway_deployment.orders.id
  stage_name    = "prod"
}

resource "aws_sns_topic" "people" {
  name = "orders-on-call"
}

module "rollback" {
  source = "../.."

  name   = "orders-rollback"
  bucket = var.bucket

  api_id     = aws_api_gateway_rest_api.orders.id
  api_name   = aws_api_gateway_rest_api.orders.name
  stage_name = aws_api_gateway_stage.prod.stage_name

  error_rate_threshold   = 0.02
  latency_p99_threshold  = 3000
  bake_seconds           = 900
  bake_needs_data        = true
  notification_topic_arn = aws_sns_topic.people.arn
  alarm_prefixes         = ["orders-"]
  kms_key                = "create"

  tags = {
    service = "orders"
  }
}

# An alarm on something else than the API names the stage in its description.
resource "aws_cloudwatch_metric_alarm" "checkout" {
  alarm_name          = "orders-checkout-failures"
  alarm_description   = "rollback-target: ${aws_api_gateway_rest_api.orders.id}/${aws_api_gateway_stage.prod.stage_name}"
  namespace           = "Orders"
  metric_name         = "CheckoutFailures"
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [module.rollback.alarm_topic_arn]
  ok_actions          = [module.rollback.alarm_topic_arn]
}

output "status_command" {
  description = "Shows the live and the known-good release"
  value       = module.rollback.status_command
}
