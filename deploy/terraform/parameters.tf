# Written by `make door-files` from template.yaml. Change the template, not this file.

locals {
  # The values as the template takes them.
  parameters = {
    Protocol               = var.protocol
    ApiId                  = var.api_id
    ApiName                = var.api_name
    StageName              = var.stage_name
    SampleRelease          = var.sample_release
    Functions              = join(",", var.functions)
    FunctionAlias          = var.function_alias
    DomainName             = var.domain_name
    BasePath               = var.base_path
    FlushCache             = var.flush_cache ? "on" : "off"
    ErrorRateThreshold     = tostring(var.error_rate_threshold)
    MinimumRequests        = tostring(var.minimum_requests)
    MinimumErrors          = tostring(var.minimum_errors)
    LatencyP99Threshold    = tostring(var.latency_p99_threshold)
    AlarmPeriodSeconds     = tostring(var.alarm_period_seconds)
    AlarmEvaluationPeriods = tostring(var.alarm_evaluation_periods)
    AlarmDatapoints        = tostring(var.alarm_datapoints)
    FastDetection          = var.fast_detection ? "on" : "off"
    Rollouts               = var.rollouts ? "on" : "off"
    RolloutDashboard       = var.rollout_dashboard ? "on" : "off"
    DecideSeconds          = tostring(var.decide_seconds)
    ConvictAlpha           = var.convict_alpha
    BakeSeconds            = tostring(var.bake_seconds)
    BakeNeedsData          = var.bake_needs_data ? "on" : "off"
    SweepMinutes           = tostring(var.sweep_minutes)
    MaxAlarmAgeSeconds     = tostring(var.max_alarm_age_seconds)
    RollbackWindowSeconds  = tostring(var.rollback_window_seconds)
    CooldownSeconds        = tostring(var.cooldown_seconds)
    MaxRollbacksADay       = tostring(var.max_rollbacks_a_day)
    Mode                   = var.mode
    Pin                    = var.pin ? "on" : "off"
    ParameterPrefix        = var.parameter_prefix
    AlarmPrefixes          = join(",", var.alarm_prefixes)
    UnwiredAlarmPrefixes   = join(",", var.unwired_alarm_prefixes)
    DirectAlarmPrefix      = var.direct_alarm_prefix
    NotificationEmail      = var.notification_email
    NotificationTopicArn   = var.notification_topic_arn
    NotRecoveredSeconds    = tostring(var.not_recovered_seconds)
    IncidentsKeptDays      = tostring(var.incidents_kept_days)
    EventBus               = var.event_bus
    Siblings               = join(",", var.siblings)
    HookFunctionArn        = var.hook_function_arn
    HookSeconds            = tostring(var.hook_seconds)
    ShowVariables          = var.show_variables ? "on" : "off"
    Architecture           = var.architecture
    ReservedConcurrency    = tostring(var.reserved_concurrency)
    MaxEventAgeSeconds     = tostring(var.max_event_age_seconds)
    LogRetentionDays       = tostring(var.log_retention_days)
    LogGroupName           = var.log_group_name
    KmsKey                 = var.kms_key
    PermissionsBoundary    = var.permissions_boundary
    RolePath               = var.role_path
    Tags                   = join(",", [for name, value in var.tags : "${name}=${value}"])
  }

  # The messages of the template's rules that these values break. CloudFormation checks the rules too, but only while it
  # creates the stack.
  broken_rules = compact([
    !(local.parameters["Protocol"] == "REST") || (local.parameters["ApiId"] == "") || (!(local.parameters["ApiName"] == "")) ? null : "Give both ApiId and ApiName to protect a REST API, or neither to create a sample API.",
    (local.parameters["ApiName"] == "") || (!(local.parameters["ApiId"] == "")) ? null : "ApiName names the API in ApiId. Give both, or neither to create a sample API.",
    !(local.parameters["Protocol"] == "WEBSOCKET") || !(local.parameters["ApiId"] == "") ? null : "There is no sample WebSocket API. Give the ApiId of yours.",
    !(local.parameters["StageName"] == "$default") || local.parameters["Protocol"] == "HTTP" ? null : "Only an HTTP API can have the stage $default. Set Protocol to HTTP.",
    !(local.parameters["FlushCache"] == "on") || local.parameters["Protocol"] == "REST" ? null : "Only a REST API has caches to flush. Set FlushCache to off.",
    !(!(local.parameters["BasePath"] == "")) || !(local.parameters["DomainName"] == "") ? null : "BasePath is a path of the domain in DomainName. Give DomainName too.",
    (local.parameters["NotificationEmail"] == "") || (local.parameters["NotificationTopicArn"] == "") ? null : "Give NotificationEmail or NotificationTopicArn, not both.",
  ])
}
