# Written by `make door-files` from template.yaml. Change the template, not this file.

output "stack_id" {
  description = "Id of the stack"
  value       = aws_cloudformation_stack.this.id
}

output "sample_url" {
  description = "Address of the sample API. null without a sample API"
  value       = try(aws_cloudformation_stack.this.outputs["SampleUrl"], null)
}

output "function_name" {
  description = "Name of the rollback function"
  value       = aws_cloudformation_stack.this.outputs["FunctionName"]
}

output "alarm_topic_arn" {
  description = "Action for alarms of yours that should trigger a rollback"
  value       = aws_cloudformation_stack.this.outputs["AlarmTopicArn"]
}

output "stage_alarms" {
  description = "Alarms of this stack that trigger a rollback of the stage"
  value       = aws_cloudformation_stack.this.outputs["StageAlarms"]
}

output "protected_api" {
  description = "Id of the protected API"
  value       = aws_cloudformation_stack.this.outputs["ProtectedApi"]
}

output "record_command" {
  description = "Records the live release as known-good now, for a pipeline whose own tests prove a release. Without this command the function records it after the bake time."
  value       = aws_cloudformation_stack.this.outputs["RecordCommand"]
}

output "status_command" {
  description = "Shows the live release, the known-good release, and the effect that an alarm would have now"
  value       = aws_cloudformation_stack.this.outputs["StatusCommand"]
}

output "history_command" {
  description = "Shows the known-good releases over time, with the rollbacks between them"
  value       = aws_cloudformation_stack.this.outputs["HistoryCommand"]
}

output "hold_command" {
  description = "Stops alarms and sweeps from changing the stage until a time that you fill in. The command release-hold ends the hold early."
  value       = aws_cloudformation_stack.this.outputs["HoldCommand"]
}

output "log_command" {
  description = "Follows the log of the function"
  value       = aws_cloudformation_stack.this.outputs["LogCommand"]
}

output "dead_letter_queue_url" {
  description = "Queue with the events that failed on every retry"
  value       = aws_cloudformation_stack.this.outputs["DeadLetterQueueUrl"]
}

output "version" {
  description = "Version of apigw-rollback that this template belongs to"
  value       = aws_cloudformation_stack.this.outputs["Version"]
}
