// Written by `make door-files` from template.yaml. Change the template, not this file.

/**
 * The parameters of the template that have no typed property of their own. The template says what they may be, and
 * `cdk synth` checks it.
 */
export interface ApiGatewayRollbackSettings {
  /**
   * Names of the Lambda functions whose alias FunctionAlias is a component of the release. A rollback restores these aliases. The API must invoke the alias.
   *
   * @default `[]`
   */
  readonly functions?: string[];

  /**
   * Alias of those functions.
   *
   * @default `"live"`
   */
  readonly functionAlias?: string;

  /**
   * Custom domain whose mapping is a component of the release, for blue/green between stages of the API. Leave it empty if no mapping belongs to the release.
   *
   * @default `""`
   */
  readonly domainName?: string;

  /**
   * Base path of that mapping. Leave it empty for the root of the domain.
   *
   * @default `""`
   */
  readonly basePath?: string;

  /**
   * on flushes the caches of a REST stage after a rollback. The backend then receives every request while it may still be recovering. `true` stands for on, and `false` for off.
   *
   * @default `false`
   */
  readonly flushCache?: boolean;

  /**
   * The error-rate alarm fires above this share of 5xx responses. 0.05 means 5 percent.
   *
   * @default `0.05`
   */
  readonly errorRateThreshold?: number;

  /**
   * If a period has fewer requests than this, the alarm ignores its error rate. A WebSocket API counts messages. For a REST or HTTP API, 0 selects the plain average of the 5xx metric.
   *
   * @default `20`
   */
  readonly minimumRequests?: number;

  /**
   * If a period has fewer 5xx responses than this, the alarm ignores its error rate. One or two errors may be chance. If MinimumRequests is 0, the plain average does not use this value.
   *
   * @default `5`
   */
  readonly minimumErrors?: number;

  /**
   * The latency alarm fires above this p99 latency, in milliseconds. 0 creates no latency alarm.
   *
   * @default `10000`
   */
  readonly latencyP99Threshold?: number;

  /**
   * Length of one alarm period. API Gateway publishes its metrics once a minute. One of 60, 120, 180, 300, 600, 900.
   *
   * @default `60`
   */
  readonly alarmPeriodSeconds?: number;

  /**
   * Number of recent periods that the alarms evaluate.
   *
   * @default `2`
   */
  readonly alarmEvaluationPeriods?: number;

  /**
   * Number of those periods that must be bad before an alarm fires. At most AlarmEvaluationPeriods.
   *
   * @default `1`
   */
  readonly alarmDatapoints?: number;

  /**
   * on adds alarms with a period of 10 seconds on metrics from the access log of the stage (docs/access-log.md). The sample API gets such an access log. For an API of yours, set it up yourself. Before you select on for the sample REST API, set API Gateway's role for CloudWatch Logs once for the account and Region. This stack does not set it, because that would replace the role of your other APIs. `true` stands for on, and `false` for off.
   *
   * @default `false`
   */
  readonly fastDetection?: boolean;

  /**
   * on creates a schedule that moves running rollouts on every minute. With off, only the sweep does. `true` stands for on, and `false` for off.
   *
   * @default `false`
   */
  readonly rollouts?: boolean;

  /**
   * on creates a CloudWatch dashboard for the rollouts of a REST API: the share of the traffic that the new release has, and the share of 5xx of each deployment, on one axis. Other APIs get no dashboard. `true` stands for on, and `false` for off.
   *
   * @default `false`
   */
  readonly rolloutDashboard?: boolean;

  /**
   * After an alarm of fast detection, the function reads the metrics of the access log for at most this many seconds until they are enough to judge the live release. 0 reads them once.
   *
   * @default `45`
   */
  readonly decideSeconds?: number;

  /**
   * Highest probability with which the test of the access log's metrics may convict a release whose requests fail no more often than tolerated.
   *
   * @default `"0.0001"`
   */
  readonly convictAlpha?: string;

  /**
   * Bake time. A release becomes known-good when it has been live this long with quiet alarms.
   *
   * @default `1800`
   */
  readonly bakeSeconds?: number;

  /**
   * on requires that the metric of a guarding alarm had data during the bake time. A release without traffic proves nothing. Select off for an API that has hours without a request. `true` stands for on, and `false` for off.
   *
   * @default `true`
   */
  readonly bakeNeedsData?: boolean;

  /**
   * Minutes between two sweeps. A sweep records proven releases as known-good, and rolls back a bad release whose alarm was lost. One of 1, 2, 5, 10, 15, 20, 30, 60.
   *
   * @default `5`
   */
  readonly sweepMinutes?: number;

  /**
   * If an alarm is older than this, the function reports it and does not act.
   *
   * @default `900`
   */
  readonly maxAlarmAgeSeconds?: number;

  /**
   * The function does not roll back a release that has been live for longer than this. Something else has probably changed. 0 means no limit.
   *
   * @default `86400`
   */
  readonly rollbackWindowSeconds?: number;

  /**
   * After a rollback, no alarm rolls back the same stage for this many seconds.
   *
   * @default `300`
   */
  readonly cooldownSeconds?: number;

  /**
   * Rollbacks of one stage that alarms may cause within 24 hours. Further alarms only notify you. Operator commands still act.
   *
   * @default `3`
   */
  readonly maxRollbacksADay?: number;

  /**
   * enforce rolls back. observe reports the rollback that the function would make, and changes nothing. One of enforce, observe.
   *
   * @default `"enforce"`
   */
  readonly mode?: string;

  /**
   * on creates a pin, which is a stage named <stage>-known-good. The pin serves no traffic and keeps the known-good deployment from being deleted. `true` stands for on, and `false` for off.
   *
   * @default `true`
   */
  readonly pin?: boolean;

  /**
   * Path in SSM Parameter Store under which the function keeps its records.
   *
   * @default `"/apigw-rollback"`
   */
  readonly parameterPrefix?: string;

  /**
   * Only alarms whose names start with one of these prefixes may act on a stage or prove a release. Leave it empty to allow every alarm that notifies the alarm topic or invokes the function.
   *
   * @default `[]`
   */
  readonly alarmPrefixes?: string[];

  /**
   * Alarms whose names start with one of these prefixes may act although they neither notify the alarm topic nor invoke the function. Use it for alarms that a rule of EventBridge or a queue delivers.
   *
   * @default `[]`
   */
  readonly unwiredAlarmPrefixes?: string[];

  /**
   * Alarms whose names start with this prefix may invoke the function directly. Leave it empty to allow only the stage alarms of this stack (<stack>-stage-).
   *
   * @default `""`
   */
  readonly directAlarmPrefix?: string;

  /**
   * Address that the function notifies when it acted, refused to act or failed. SNS first sends it an e-mail that asks for confirmation.
   *
   * @default `""`
   */
  readonly notificationEmail?: string;

  /**
   * Seconds that an alarm has to recover after a rollback. If it is still in ALARM then, the function notifies you that the rollback did not help.
   *
   * @default `900`
   */
  readonly notRecoveredSeconds?: number;

  /**
   * Days for which the records of rollbacks are kept, and longer while their releases still exist. 0 keeps them for good. An account can have 10,000 standard parameters in a Region.
   *
   * @default `90`
   */
  readonly incidentsKeptDays?: number;

  /**
   * Regions in which a stack of this name protects the same APIs; all of them can share one list. They tell each other about bad releases, over the bus in EventBus, or over the default bus.
   *
   * @default `[]`
   */
  readonly siblings?: string[];

  /**
   * A rollback waits at most this many seconds for the hook. A late or failed hook never stops a rollback.
   *
   * @default `3`
   */
  readonly hookSeconds?: number;

  /**
   * on sends the values of stage variables to notifications, events, the log and the hook. off sends their names, and which of them changed. `true` stands for on, and `false` for off.
   *
   * @default `false`
   */
  readonly showVariables?: boolean;

  /**
   * Processor architecture of the function. One of x86_64, arm64.
   *
   * @default `"x86_64"`
   */
  readonly architecture?: string;

  /**
   * Reserved concurrency of the function. -1 reserves none, and 0 stops the function. With 1, an alarm waits until a running sweep ends.
   *
   * @default `-1`
   */
  readonly reservedConcurrency?: number;

  /**
   * Lambda retries an event for at most this many seconds. A rollback that comes hours late does harm.
   *
   * @default `600`
   */
  readonly maxEventAgeSeconds?: number;

  /**
   * Number of days that CloudWatch Logs keeps the log of the function. One of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653.
   *
   * @default `90`
   */
  readonly logRetentionDays?: number;

  /**
   * IAM path of every role of this stack. Leave it empty for the root path.
   *
   * @default `""`
   */
  readonly rolePath?: string;

  /**
   * Tags for the parked stage, which the function creates. CloudFormation adds the tags of the stack only to what CloudFormation creates.
   *
   * @default `{}`
   */
  readonly tags?: { [name: string]: string };
}
