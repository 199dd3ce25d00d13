# Written by `make door-files` from template.yaml. Change the template, not this file.

variable "name" {
  description = "Name of the stack. The function and its alarms get this name."
  type        = string
  default     = "apigw-rollback"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,63}$", var.name))
    error_message = "A function's name has at most 64 letters, digits and hyphens, and begins with a letter."
  }
}

variable "bucket" {
  description = "Name of an S3 bucket of yours in the Region of the API. Lambda reads the function's code from it."
  type        = string
  nullable    = false
}

variable "dist" {
  description = "Folder with an unpacked release. The module uploads it to the bucket. null uses the release that is already in the bucket, under prefix/release_version/."
  type        = string
  default     = null

  validation {
    condition     = var.dist == null || fileexists("${coalesce(var.dist, ".")}/template.yaml")
    error_message = "This folder has no template.yaml. Unpack a release of apigw-rollback there, or run `make dist` and give target/dist."
  }
}

variable "prefix" {
  description = "Prefix of the releases in the bucket."
  type        = string
  default     = "apigw-rollback"
  nullable    = false
}

variable "release_version" {
  description = "Release to deploy. It must be the release of this module, whose variables are the parameters of the template."
  type        = string
  default     = "0.1.0"
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?$", var.release_version))
    error_message = "Give a version such as 1.2.3, without a v."
  }
}

variable "deployment_role_arn" {
  description = "Role that CloudFormation assumes for the stack. null uses the credentials of Terraform."
  type        = string
  default     = null
}

variable "timeout_in_minutes" {
  description = "Minutes after which CloudFormation gives up and rolls the stack back."
  type        = number
  default     = 30
  nullable    = false
}

# API and stage (leave ApiId and ApiName empty to create a sample API)

variable "protocol" {
  description = "Protocol of the API. REST and HTTP have a sample API. WEBSOCKET needs the ApiId of an API of yours."
  type        = string
  default     = "REST"
  nullable    = false

  validation {
    condition     = contains(["REST", "HTTP", "WEBSOCKET"], var.protocol)
    error_message = "Protocol must be one of REST, HTTP, WEBSOCKET."
  }
}

variable "api_id" {
  description = "Id of the API to protect. List yours with aws apigateway get-rest-apis or aws apigatewayv2 get-apis. Leave it empty to create a sample API."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]*$", var.api_id))
    error_message = "ApiId must be the id of an API, such as a1b2c3d4e5, or empty for a sample API."
  }
}

variable "api_name" {
  description = "Name of the API to protect. A REST API requires it, spelled exactly as in its CloudWatch metrics. An HTTP or WebSocket API does not need it. Without a name, reports show the id."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[ !#-\\[\\]-~]*$", var.api_name))
    error_message = "ApiName must be the name of the API in printable ASCII without quotation marks and backslashes; for a REST API, the ApiName dimension of its CloudWatch metrics."
  }

  validation {
    condition     = length(var.api_name) <= 255
    error_message = "ApiName can have at most 255 characters."
  }
}

variable "stage_name" {
  description = "Stage to protect. The sample API gets a stage of this name."
  type        = string
  default     = "prod"
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9_-]{1,117}|\\$default)$", var.stage_name))
    error_message = "StageName must be 1 to 117 letters, digits, hyphens and underscores; or $default for an HTTP API."
  }
}

variable "sample_release" {
  description = "Release that the sample API serves. Release 1 works. Release 2 answers every request with status 500."
  type        = string
  default     = "1"
  nullable    = false

  validation {
    condition     = contains(["1", "2"], var.sample_release)
    error_message = "SampleRelease must be one of 1, 2."
  }
}

# Components of a release

variable "functions" {
  description = "Names of the Lambda functions whose alias FunctionAlias is a component of the release. A rollback restores these aliases. The API must invoke the alias."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for part in var.functions : can(regex("^[A-Za-z0-9_-]{1,64}$", part))])
    error_message = "Functions must be up to 100 names of Lambda functions, not ARNs, separated by commas without spaces."
  }

  validation {
    condition     = length(var.functions) <= 100
    error_message = "Functions must be up to 100 names of Lambda functions, not ARNs, separated by commas without spaces."
  }
}

variable "function_alias" {
  description = "Alias of those functions."
  type        = string
  default     = "live"
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]*[A-Za-z_-][A-Za-z0-9_-]*$", var.function_alias))
    error_message = "FunctionAlias must be the name of an alias, not a version number."
  }

  validation {
    condition     = length(var.function_alias) <= 128
    error_message = "FunctionAlias can have at most 128 characters."
  }
}

variable "domain_name" {
  description = "Custom domain whose mapping is a component of the release, for blue/green between stages of the API. Leave it empty if no mapping belongs to the release."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9*-]+(\\.[A-Za-z0-9-]+)+)?$", var.domain_name))
    error_message = "DomainName must be a custom domain name of API Gateway, such as api.example.com, or empty."
  }
}

variable "base_path" {
  description = "Base path of that mapping. Leave it empty for the root of the domain."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9$_.+!*'()-]*$", var.base_path))
    error_message = "BasePath must be a base path without a slash, such as orders, or empty for the root."
  }
}

variable "flush_cache" {
  description = "on flushes the caches of a REST stage after a rollback. The backend then receives every request while it may still be recovering. true stands for on, and false for off."
  type        = bool
  default     = false
  nullable    = false
}

# When an alarm fires

variable "error_rate_threshold" {
  description = "The error-rate alarm fires above this share of 5xx responses. 0.05 means 5 percent."
  type        = number
  default     = 0.05
  nullable    = false

  validation {
    condition     = var.error_rate_threshold >= 0 && var.error_rate_threshold <= 1
    error_message = "ErrorRateThreshold must be at least 0 and at most 1."
  }
}

variable "minimum_requests" {
  description = "If a period has fewer requests than this, the alarm ignores its error rate. A WebSocket API counts messages. For a REST or HTTP API, 0 selects the plain average of the 5xx metric."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.minimum_requests >= 0
    error_message = "MinimumRequests must be at least 0."
  }
}

variable "minimum_errors" {
  description = "If a period has fewer 5xx responses than this, the alarm ignores its error rate. One or two errors may be chance. If MinimumRequests is 0, the plain average does not use this value."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.minimum_errors >= 0
    error_message = "MinimumErrors must be at least 0."
  }
}

variable "latency_p99_threshold" {
  description = "The latency alarm fires above this p99 latency, in milliseconds. 0 creates no latency alarm."
  type        = number
  default     = 10000
  nullable    = false

  validation {
    condition     = var.latency_p99_threshold >= 0 && var.latency_p99_threshold <= 300000
    error_message = "LatencyP99Threshold must be at least 0 and at most 300000."
  }
}

variable "alarm_period_seconds" {
  description = "Length of one alarm period. API Gateway publishes its metrics once a minute."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = contains([60, 120, 180, 300, 600, 900], var.alarm_period_seconds)
    error_message = "AlarmPeriodSeconds must be one of 60, 120, 180, 300, 600, 900."
  }
}

variable "alarm_evaluation_periods" {
  description = "Number of recent periods that the alarms evaluate."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.alarm_evaluation_periods >= 1 && var.alarm_evaluation_periods <= 60
    error_message = "AlarmEvaluationPeriods must be at least 1 and at most 60."
  }
}

variable "alarm_datapoints" {
  description = "Number of those periods that must be bad before an alarm fires. At most AlarmEvaluationPeriods."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.alarm_datapoints >= 1 && var.alarm_datapoints <= 60
    error_message = "AlarmDatapoints must be at least 1 and at most 60."
  }
}

# Fast detection

variable "fast_detection" {
  description = "on adds alarms with a period of 10 seconds on metrics from the access log of the stage (docs/access-log.md). The sample API gets such an access log. For an API of yours, set it up yourself. Before you select on for the sample REST API, set API Gateway's role for CloudWatch Logs once for the account and Region. This stack does not set it, because that would replace the role of your other APIs. true stands for on, and false for off."
  type        = bool
  default     = false
  nullable    = false
}

variable "decide_seconds" {
  description = "After an alarm of fast detection, the function reads the metrics of the access log for at most this many seconds until they are enough to judge the live release. 0 reads them once."
  type        = number
  default     = 45
  nullable    = false

  validation {
    condition     = var.decide_seconds >= 0 && var.decide_seconds <= 120
    error_message = "DecideSeconds must be at least 0 and at most 120."
  }
}

variable "convict_alpha" {
  description = "Highest probability with which the test of the access log's metrics may convict a release whose requests fail no more often than tolerated."
  type        = string
  default     = "0.0001"
  nullable    = false

  validation {
    condition     = can(regex("^0\\.(010*|00[0-9]{0,3}[1-9]0*)$", var.convict_alpha))
    error_message = "ConvictAlpha must be a decimal number between 0.000001 and 0.01, such as 0.0001."
  }
}

variable "rollouts" {
  description = "on creates a schedule that moves running rollouts on every minute. With off, only the sweep does. true stands for on, and false for off."
  type        = bool
  default     = false
  nullable    = false
}

variable "rollout_dashboard" {
  description = "on creates a CloudWatch dashboard for the rollouts of a REST API: the share of the traffic that the new release has, and the share of 5xx of each deployment, on one axis. Other APIs get no dashboard. true stands for on, and false for off."
  type        = bool
  default     = false
  nullable    = false
}

# When a release becomes known-good

variable "bake_seconds" {
  description = "Bake time. A release becomes known-good when it has been live this long with quiet alarms."
  type        = number
  default     = 1800
  nullable    = false

  validation {
    condition     = var.bake_seconds >= 0 && var.bake_seconds <= 604800
    error_message = "BakeSeconds must be at least 0 and at most 604800."
  }
}

variable "bake_needs_data" {
  description = "on requires that the metric of a guarding alarm had data during the bake time. A release without traffic proves nothing. Select off for an API that has hours without a request. true stands for on, and false for off."
  type        = bool
  default     = true
  nullable    = false
}

variable "sweep_minutes" {
  description = "Minutes between two sweeps. A sweep records proven releases as known-good, and rolls back a bad release whose alarm was lost."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = contains([1, 2, 5, 10, 15, 20, 30, 60], var.sweep_minutes)
    error_message = "SweepMinutes must be one of 1, 2, 5, 10, 15, 20, 30, 60."
  }
}

# Limits on rollbacks

variable "max_alarm_age_seconds" {
  description = "If an alarm is older than this, the function reports it and does not act."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.max_alarm_age_seconds >= 60 && var.max_alarm_age_seconds <= 86400
    error_message = "MaxAlarmAgeSeconds must be at least 60 and at most 86400."
  }
}

variable "rollback_window_seconds" {
  description = "The function does not roll back a release that has been live for longer than this. Something else has probably changed. 0 means no limit."
  type        = number
  default     = 86400
  nullable    = false

  validation {
    condition     = var.rollback_window_seconds >= 0 && var.rollback_window_seconds <= 31536000
    error_message = "RollbackWindowSeconds must be at least 0 and at most 31536000."
  }
}

variable "cooldown_seconds" {
  description = "After a rollback, no alarm rolls back the same stage for this many seconds."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.cooldown_seconds >= 0 && var.cooldown_seconds <= 86400
    error_message = "CooldownSeconds must be at least 0 and at most 86400."
  }
}

variable "max_rollbacks_a_day" {
  description = "Rollbacks of one stage that alarms may cause within 24 hours. Further alarms only notify you. Operator commands still act."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.max_rollbacks_a_day >= 0 && var.max_rollbacks_a_day <= 20
    error_message = "MaxRollbacksADay must be at least 0 and at most 20."
  }
}

# Behavior of the function

variable "mode" {
  description = "enforce rolls back. observe reports the rollback that the function would make, and changes nothing."
  type        = string
  default     = "enforce"
  nullable    = false

  validation {
    condition     = contains(["enforce", "observe"], var.mode)
    error_message = "Mode must be one of enforce, observe."
  }
}

variable "pin" {
  description = "on creates a pin, which is a stage named <stage>-known-good. The pin serves no traffic and keeps the known-good deployment from being deleted. true stands for on, and false for off."
  type        = bool
  default     = true
  nullable    = false
}

variable "parameter_prefix" {
  description = "Path in SSM Parameter Store under which the function keeps its records."
  type        = string
  default     = "/apigw-rollback"
  nullable    = false

  validation {
    condition     = can(regex("^(/[A-Za-z0-9_.-]+){1,5}$", var.parameter_prefix)) && !can(regex("^(/[Aa][Ww][Ss]|/[Ss][Ss][Mm])", var.parameter_prefix))
    error_message = "ParameterPrefix must be one to five path segments such as /apigw-rollback, without a slash at the end, and not /aws or /ssm."
  }
}

# Alarms that may act

variable "alarm_prefixes" {
  description = "Only alarms whose names start with one of these prefixes may act on a stage or prove a release. Leave it empty to allow every alarm that notifies the alarm topic or invokes the function."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for part in var.alarm_prefixes : can(regex("^[^,*?]*[^,*?\\s][^,*?]*$", part))])
    error_message = "AlarmPrefixes must be starts of alarm names separated by commas, without the wildcards * and ?."
  }
}

variable "direct_alarm_prefix" {
  description = "Alarms whose names start with this prefix may invoke the function directly. Leave it empty to allow only the stage alarms of this stack (<stack>-stage-)."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]*$", var.direct_alarm_prefix))
    error_message = "DirectAlarmPrefix must be the start of alarm names, without the wildcards * and ?."
  }
}

variable "unwired_alarm_prefixes" {
  description = "Alarms whose names start with one of these prefixes may act although they neither notify the alarm topic nor invoke the function. Use it for alarms that a rule of EventBridge or a queue delivers."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for part in var.unwired_alarm_prefixes : can(regex("^[^,*?]*[^,*?\\s][^,*?]*$", part))])
    error_message = "UnwiredAlarmPrefixes must be starts of alarm names separated by commas, without the wildcards * and ?."
  }
}

# Notifications, events and hook

variable "notification_email" {
  description = "Address that the function notifies when it acted, refused to act or failed. SNS first sends it an e-mail that asks for confirmation."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([^@ ]+@[^@ ]+)?$", var.notification_email))
    error_message = "NotificationEmail must be one e-mail address, or empty."
  }
}

variable "notification_topic_arn" {
  description = "SNS topic of yours to notify instead of an address. Do not use the alarm topic of this stack."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+)?$", var.notification_topic_arn))
    error_message = "NotificationTopicArn must be the ARN of a standard SNS topic, or empty."
  }
}

variable "not_recovered_seconds" {
  description = "Seconds that an alarm has to recover after a rollback. If it is still in ALARM then, the function notifies you that the rollback did not help."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.not_recovered_seconds >= 0 && var.not_recovered_seconds <= 86400
    error_message = "NotRecoveredSeconds must be at least 0 and at most 86400."
  }
}

variable "incidents_kept_days" {
  description = "Days for which the records of rollbacks are kept, and longer while their releases still exist. 0 keeps them for good. An account can have 10,000 standard parameters in a Region."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.incidents_kept_days >= 0 && var.incidents_kept_days <= 3650
    error_message = "IncidentsKeptDays must be at least 0 and at most 3650."
  }
}

variable "event_bus" {
  description = "EventBridge bus that receives every report, for automation. Leave it empty to send none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[/.A-Za-z0-9_-]{0,256}$", var.event_bus))
    error_message = "EventBus must be the name of an event bus of this account and Region, or empty."
  }
}

variable "siblings" {
  description = "Regions in which a stack of this name protects the same APIs; all of them can share one list. They tell each other about bad releases, over the bus in EventBus, or over the default bus."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for part in var.siblings : can(regex("^[a-z]+-[a-z-]+-[0-9]+$", part))])
    error_message = "Siblings must be up to four Regions such as eu-west-1,us-east-1, separated by commas, or empty."
  }

  validation {
    condition     = length(var.siblings) <= 4
    error_message = "Siblings must be up to four Regions such as eu-west-1,us-east-1, separated by commas, or empty."
  }
}

variable "hook_function_arn" {
  description = "Lambda function of yours that runs before and after a rollback, for example to capture data or to repair."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]+)?$", var.hook_function_arn))
    error_message = "HookFunctionArn must be the ARN of a Lambda function without a version or alias, or empty."
  }
}

variable "hook_seconds" {
  description = "A rollback waits at most this many seconds for the hook. A late or failed hook never stops a rollback."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.hook_seconds >= 1 && var.hook_seconds <= 10
    error_message = "HookSeconds must be at least 1 and at most 10."
  }
}

variable "show_variables" {
  description = "on sends the values of stage variables to notifications, events, the log and the hook. off sends their names, and which of them changed. true stands for on, and false for off."
  type        = bool
  default     = false
  nullable    = false
}

# Runtime of the function

variable "architecture" {
  description = "Processor architecture of the function."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "Architecture must be one of x86_64, arm64."
  }
}

variable "reserved_concurrency" {
  description = "Reserved concurrency of the function. -1 reserves none, and 0 stops the function. With 1, an alarm waits until a running sweep ends."
  type        = number
  default     = -1
  nullable    = false

  validation {
    condition     = var.reserved_concurrency >= -1
    error_message = "ReservedConcurrency must be at least -1."
  }
}

variable "max_event_age_seconds" {
  description = "Lambda retries an event for at most this many seconds. A rollback that comes hours late does harm."
  type        = number
  default     = 600
  nullable    = false

  validation {
    condition     = var.max_event_age_seconds >= 60 && var.max_event_age_seconds <= 21600
    error_message = "MaxEventAgeSeconds must be at least 60 and at most 21600."
  }
}

variable "log_retention_days" {
  description = "Number of days that CloudWatch Logs keeps the log of the function."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653], var.log_retention_days)
    error_message = "LogRetentionDays must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653."
  }
}

variable "log_group_name" {
  description = "Log group of yours for the function, of the class Standard. Leave it empty to create one. LogRetentionDays and KmsKey do not apply to yours."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_./#-]{0,512}$", var.log_group_name))
    error_message = "LogGroupName must be the name of a log group of this account and Region, or empty."
  }
}

variable "kms_key" {
  description = "Key that encrypts the topics, the dead-letter queue and the log. create makes a key with the right policy. The policy of your own key must allow CloudWatch to use it (docs/security.md). Otherwise CloudWatch loses alarms silently."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(create|arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+)?$", var.kms_key))
    error_message = "KmsKey must be empty, the word create, or the ARN of a symmetric KMS key of this Region."
  }
}

# Rules of your organization

variable "permissions_boundary" {
  description = "IAM policy that limits every role of this stack. It must allow what the roles need (docs/permissions.md). Leave it empty for roles without a boundary."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(arn:[a-z-]+:iam::([0-9]{12}|aws):policy/[!-~]+)?$", var.permissions_boundary))
    error_message = "PermissionsBoundary must be the ARN of an IAM policy, or empty."
  }
}

variable "role_path" {
  description = "IAM path of every role of this stack. Leave it empty for the root path."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(/|/[!-~]{1,510}/)?$", var.role_path))
    error_message = "RolePath must be an IAM path that begins and ends with a slash, such as /teams/orders/, or empty."
  }
}

variable "tags" {
  description = "Tags for the parked stage, which the function creates. CloudFormation adds the tags of the stack only to what CloudFormation creates. The module also gives them to the stack, and CloudFormation to its resources."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, value in var.tags : can(regex("^[A-Za-z0-9 _.:/+@-]{1,128}=[A-Za-z0-9 _.:/=+@-]{0,256}$", "${name}=${value}"))])
    error_message = "Tags must be at most 50 tags such as team=orders,cost-center=42, or empty."
  }

  validation {
    condition     = length(var.tags) <= 50
    error_message = "Tags must be at most 50 tags such as team=orders,cost-center=42, or empty."
  }
}
