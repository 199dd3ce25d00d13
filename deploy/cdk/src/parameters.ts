// Written by `make door-files` from template.yaml. Change the template, not this file.

import type { ApiGatewayRollbackSettings } from './settings';

/** The release of the template that this construct deploys. */
export const VERSION = '0.1.0';

/** The template's parameter of each setting. */
export const SETTINGS: { readonly [parameter: string]: keyof ApiGatewayRollbackSettings } = {
  Functions: 'functions',
  FunctionAlias: 'functionAlias',
  DomainName: 'domainName',
  BasePath: 'basePath',
  FlushCache: 'flushCache',
  ErrorRateThreshold: 'errorRateThreshold',
  MinimumRequests: 'minimumRequests',
  MinimumErrors: 'minimumErrors',
  LatencyP99Threshold: 'latencyP99Threshold',
  AlarmPeriodSeconds: 'alarmPeriodSeconds',
  AlarmEvaluationPeriods: 'alarmEvaluationPeriods',
  AlarmDatapoints: 'alarmDatapoints',
  FastDetection: 'fastDetection',
  Rollouts: 'rollouts',
  RolloutDashboard: 'rolloutDashboard',
  DecideSeconds: 'decideSeconds',
  ConvictAlpha: 'convictAlpha',
  BakeSeconds: 'bakeSeconds',
  BakeNeedsData: 'bakeNeedsData',
  SweepMinutes: 'sweepMinutes',
  MaxAlarmAgeSeconds: 'maxAlarmAgeSeconds',
  RollbackWindowSeconds: 'rollbackWindowSeconds',
  CooldownSeconds: 'cooldownSeconds',
  MaxRollbacksADay: 'maxRollbacksADay',
  Mode: 'mode',
  Pin: 'pin',
  ParameterPrefix: 'parameterPrefix',
  AlarmPrefixes: 'alarmPrefixes',
  UnwiredAlarmPrefixes: 'unwiredAlarmPrefixes',
  DirectAlarmPrefix: 'directAlarmPrefix',
  NotificationEmail: 'notificationEmail',
  NotRecoveredSeconds: 'notRecoveredSeconds',
  IncidentsKeptDays: 'incidentsKeptDays',
  Siblings: 'siblings',
  HookSeconds: 'hookSeconds',
  ShowVariables: 'showVariables',
  Architecture: 'architecture',
  ReservedConcurrency: 'reservedConcurrency',
  MaxEventAgeSeconds: 'maxEventAgeSeconds',
  LogRetentionDays: 'logRetentionDays',
  RolePath: 'rolePath',
  Tags: 'tags',
};

/** The other parameters of the template: of the typed properties, of the sample API, and of the release. */
export const OTHERS: readonly string[] = [
  'Protocol',
  'ApiId',
  'ApiName',
  'StageName',
  'SampleRelease',
  'NotificationTopicArn',
  'EventBus',
  'HookFunctionArn',
  'LogGroupName',
  'KmsKey',
  'PermissionsBoundary',
  'CodeBucket',
  'CodeKey',
];
