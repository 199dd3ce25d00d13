// What the construct gives the template, and what it refuses in `cdk synth`. The releases are written by
// deploy/tests/release.py; `make doors` does so before.
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';
import { App, Stack } from 'aws-cdk-lib';
import * as apigateway from 'aws-cdk-lib/aws-apigateway';
import * as apigatewayv2 from 'aws-cdk-lib/aws-apigatewayv2';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as sns from 'aws-cdk-lib/aws-sns';
import { Template } from 'aws-cdk-lib/assertions';
import { AwsSolutionsChecks } from 'cdk-nag';
import { parse } from 'yaml';
import { ApiGatewayRollback, type ApiGatewayRollbackProps } from '../lib/index.js';
import { OTHERS, SETTINGS } from '../lib/parameters.js';

const RELEASES = path.resolve(import.meta.dirname, '../../../target/doors');
const GOOD = path.join(RELEASES, 'good');
const RELEASED = parse(fs.readFileSync(path.join(GOOD, 'template.yaml'), 'utf8'));

type Given = Omit<ApiGatewayRollbackProps, 'api' | 'release'> & { api?: ApiGatewayRollbackProps['api']; release?: string };

/** Returns a stack with a REST API and its protection. */
function protectedApi(given: (stack: Stack) => Given = () => ({}), name = 'Orders') {
  const app = new App();
  const stack = new Stack(app, name);
  const api = new apigateway.RestApi(stack, 'Api', { restApiName: 'orders', cloudWatchRole: false });
  api.root.addMethod('GET', new apigateway.MockIntegration());
  const rollback = new ApiGatewayRollback(stack, 'Rollback', { release: GOOD, api, ...given(stack) });
  return { app, stack, rollback };
}

/** Returns the parameters of the nested stack, and what the resources of the outer one are called there. */
function parametersOf(stack: Stack) {
  const [nested] = Object.values(Template.fromStack(stack).findResources('AWS::CloudFormation::Stack'));
  return nested.Properties.Parameters;
}

test('a REST API is protected by its id, its name and its stage', () => {
  const { CodeBucket, CodeKey, ...parameters } = parametersOf(protectedApi().stack);
  assert.deepEqual(parameters, {
    Protocol: 'REST', ApiId: { Ref: 'ApiF70053CD' }, ApiName: 'orders', StageName: { Ref: 'ApiDeploymentStageprod3EB9684E' },
  });
  assert.deepEqual(CodeBucket, { 'Fn::Sub': 'cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}' });
  assert.match(CodeKey, /^[0-9a-f]{64}\.zip$/);
});

test('an HTTP API and a WebSocket API are protected by their ids', () => {
  const http = protectedApi((stack) => ({ api: new apigatewayv2.HttpApi(stack, 'Http') }));
  assert.deepEqual(parametersOf(http.stack).Protocol, 'HTTP');
  assert.deepEqual(parametersOf(http.stack).ApiId, { Ref: 'Http36EFD62B' });
  assert.equal(parametersOf(http.stack).ApiName, undefined);
  const socket = protectedApi((stack) => {
    const api = new apigatewayv2.WebSocketApi(stack, 'Socket');
    return { api, stage: new apigatewayv2.WebSocketStage(stack, 'Stage', { webSocketApi: api, stageName: 'live' }) };
  });
  assert.equal(parametersOf(socket.stack).Protocol, 'WEBSOCKET');
  // Notifications show the name.
  const named = protectedApi((stack) => ({ api: new apigatewayv2.HttpApi(stack, 'Http'), apiName: 'carts' }));
  assert.equal(parametersOf(named.stack).ApiName, 'carts');
});

test('an imported API is protected if its name is known', () => {
  const imported = (more: object, given: object = {}) => protectedApi((stack) => ({
    ...given,
    api: apigateway.RestApi.fromRestApiAttributes(stack, 'Imported', { restApiId: 'a1b2c3d4e5', rootResourceId: 'r', ...more }),
    stage: apigateway.Stage.fromStageAttributes(stack, 'Stage', {
      stageName: 'prod', restApi: apigateway.RestApi.fromRestApiId(stack, 'Same', 'a1b2c3d4e5'),
    }),
  }));
  const { Protocol, ApiId, ApiName, StageName } = parametersOf(imported({ restApiName: 'orders' }).stack);
  assert.deepEqual({ Protocol, ApiId, ApiName, StageName },
    { Protocol: 'REST', ApiId: 'a1b2c3d4e5', ApiName: 'orders', StageName: 'prod' });
  assert.equal(parametersOf(imported({}, { apiName: 'orders' }).stack).ApiName, 'orders');
  assert.throws(() => imported({}), /CloudWatch knows the API by it\. Give the property apiName\./);
});

test('every setting reaches its parameter', () => {
  const given: { [property: string]: unknown } = {};
  const wanted: { [parameter: string]: string } = {};
  // The construct refuses siblings.
  for (const [name, property] of Object.entries(SETTINGS).filter(([name]) => name !== 'Siblings')) {
    const { Type, Default, AllowedValues = [], AllowedPattern = '', MaxValue } = RELEASED.Parameters[name];
    [given[property], wanted[name]] = [Default, String(Default)];
    if (AllowedValues.includes('on')) {
      [given[property], wanted[name]] = [Default !== 'on', Default === 'on' ? 'off' : 'on'];
    } else if (AllowedPattern.includes('}=[')) {
      [given[property], wanted[name]] = [{ team: 'orders', 'cost-center': '42' }, 'team=orders,cost-center=42'];
    } else if (AllowedPattern.includes('(,[')) {
      [given[property], wanted[name]] = [['eu-west-1', 'us-east-1'], 'eu-west-1,us-east-1'];
    } else if (Type === 'Number') {
      given[property] = Number(AllowedValues.at(-1) ?? MaxValue ?? 7);
      wanted[name] = String(given[property]);
    }
  }
  const passed = parametersOf(protectedApi(() => given).stack);
  assert.deepEqual(Object.fromEntries(Object.keys(wanted).map((name) => [name, passed[name]])), wanted);
  // An empty value could also be a lost one; of the others, most differ from the default.
  assert.ok(Object.keys(wanted).filter((name) => wanted[name] !== String(RELEASED.Parameters[name].Default)).length > 25);
});

test('the construct knows every parameter of the template', () => {
  assert.deepEqual([...Object.keys(SETTINGS), ...OTHERS].sort(), Object.keys(RELEASED.Parameters).sort());
});

test('what the app connects reaches its parameter', () => {
  const { stack } = protectedApi((stack) => ({
    notificationTopic: new sns.Topic(stack, 'People'),
    hook: lambda.Function.fromFunctionArn(stack, 'Hook', 'arn:aws:lambda:eu-west-1:123456789012:function:capture'),
    encryptionKey: new kms.Key(stack, 'Key'),
    eventBus: events.EventBus.fromEventBusName(stack, 'Bus', 'orders'),
    logGroup: logs.LogGroup.fromLogGroupName(stack, 'Log', '/teams/orders'),
    permissionsBoundary: iam.ManagedPolicy.fromManagedPolicyArn(stack, 'Boundary', 'arn:aws:iam::123456789012:policy/limit'),
  }));
  const { NotificationTopicArn, HookFunctionArn, KmsKey, EventBus, LogGroupName, PermissionsBoundary } = parametersOf(stack);
  assert.deepEqual({ NotificationTopicArn, HookFunctionArn, KmsKey, EventBus, LogGroupName, PermissionsBoundary }, {
    LogGroupName: '/teams/orders',
    PermissionsBoundary: 'arn:aws:iam::123456789012:policy/limit',
    NotificationTopicArn: { Ref: 'PeopleE38C8D03' },
    HookFunctionArn: 'arn:aws:lambda:eu-west-1:123456789012:function:capture',
    KmsKey: { 'Fn::GetAtt': ['Key961B73FD', 'Arn'] },
    EventBus: 'orders',
  });
});

test('an alarm of the app notifies the alarm topic and names the stage', () => {
  const alarm = (stack: Stack, id: string, alarmDescription?: string) => new cloudwatch.Alarm(stack, id, {
    metric: new cloudwatch.Metric({ namespace: 'Orders', metricName: 'Failures' }), threshold: 1, evaluationPeriods: 1, alarmDescription,
  });
  const { stack, rollback } = protectedApi((stack) => ({
    alarms: [
      alarm(stack, 'Plain'), alarm(stack, 'Described', 'Checkout fails'), alarm(stack, 'Own', 'rollback-target: x/y'),
      new cloudwatch.CompositeAlarm(stack, 'Both', { alarmRule: cloudwatch.AlarmRule.fromBoolean(true) }),
    ],
  }));
  const all = {
    ...Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm'),
    ...Template.fromStack(stack).findResources('AWS::CloudWatch::CompositeAlarm'),
  };
  const topic = [stack.resolve(rollback.alarmTopic.topicArn)];
  assert.deepEqual(topic[0]['Fn::GetAtt'][1], 'Outputs.AlarmTopicArn');
  const target = ['/', { Ref: 'ApiF70053CD' }];
  const said = Object.entries(all).map(([id, one]) => {
    assert.deepEqual([one.Properties.AlarmActions, one.Properties.OKActions], [topic, topic], id);
    const text = one.Properties.AlarmDescription;
    return typeof text === 'string' ? text : text['Fn::Join'][1][0];
  });
  assert.deepEqual(said.sort(), [
    'Checkout fails\nrollback-target: ', 'rollback-target: ', 'rollback-target: ', 'rollback-target: x/y\nrollback-target: ',
  ]);
  assert.ok(JSON.stringify(all).includes(JSON.stringify(target[1])));
  assert.throws(
    () => rollback.addAlarm(cloudwatch.Alarm.fromAlarmArn(stack, 'Foreign', 'arn:aws:cloudwatch:eu-west-1:123456789012:alarm:x') as cloudwatch.AlarmBase),
    /is not of this app/);
});

test('the nested template is the released one', () => {
  const { app } = protectedApi();
  const assembly = app.synth();
  const [file] = fs.readdirSync(assembly.directory).filter((name) => name.endsWith('.nested.template.json'));
  const nested = JSON.parse(fs.readFileSync(path.join(assembly.directory, file), 'utf8'));
  for (const section of ['Parameters', 'Rules', 'Mappings', 'Conditions', 'Outputs', 'Metadata'] as const) {
    assert.deepEqual(nested[section], RELEASED[section], section);
  }
  assert.deepEqual(Object.keys(nested.Resources).sort(), Object.keys(RELEASED.Resources).sort());
  for (const [id, resource] of Object.entries<any>(RELEASED.Resources)) {
    const { Metadata: _ours, ...synthesized } = nested.Resources[id];
    const { Metadata: _theirs, ...released } = resource;
    assert.deepEqual(plain(synthesized), plain(released), id);
  }
});

/** CDK writes some values in another form: a list of one dependency, and numbers as they are. */
function plain(resource: any): any {
  const { DependsOn, ...rest } = resource;
  return { ...rest, ...(DependsOn && { DependsOn: [DependsOn].flat().sort() }) };
}

test('cdk-nag finds nothing in the template', () => {
  const { app } = protectedApi();
  const pack = new AwsSolutionsChecks(app);
  const found = pack.validateScope(app).violations.flatMap(({ ruleName, violatingResources }) =>
    violatingResources.map(({ constructPath }) => `${constructPath}: ${ruleName}`));
  assert.deepEqual(found.filter((finding) => finding.startsWith('Orders/Rollback/')), []);
  // The pack looks: it has findings on the app's own API.
  assert.ok(found.some((finding) => finding.startsWith('Orders/Api/')));
});

const REFUSED: [string, (stack: Stack) => Given, RegExp][] = [
  ['a number out of bounds', () => ({ bakeSeconds: -1 }), /BakeSeconds is "-1", and must be a number from 0 to 604800\./],
  ['a number that is none', () => ({ bakeSeconds: NaN }), /BakeSeconds is "NaN", and must be a number/],
  ['a value that is not allowed', () => ({ mode: 'dry-run' }), /Mode is "dry-run", and must be one of enforce, observe\./],
  ['a period that CloudWatch does not have', () => ({ alarmPeriodSeconds: 61 }), /AlarmPeriodSeconds is "61", and must be one of 60,/],
  ['an ARN in a list of names', () => ({ functions: ['arn:aws:lambda:x'] }), /Functions is .* must be up to 100 names of Lambda functions, not ARNs/],
  ['two channels for people', (stack) => ({ notificationEmail: 'a@b.example', notificationTopic: sns.Topic.fromTopicArn(stack, 'T', 'arn:aws:sns:eu-west-1:123456789012:t') }),
    /Give NotificationEmail or NotificationTopicArn, not both\./],
  ['caches of an HTTP API', (stack) => ({ api: new apigatewayv2.HttpApi(stack, 'Http'), flushCache: true }), /Only a REST API has caches to flush\./],
  ['a base path without a domain', () => ({ basePath: 'orders' }), /BasePath is a path of the domain in DomainName\./],
  ['an API without a default stage', (stack) => ({ api: new apigatewayv2.WebSocketApi(stack, 'Socket') }), /has no default stage\. Give the property stage\./],
  ['siblings', () => ({ siblings: ['eu-west-1', 'us-east-1'] }), /siblings need functions of the same name.*Deploy template\.yaml of the release itself/],
  ['an older release', () => ({ release: path.join(RELEASES, 'older') }),
    /is of release 0\.0\.9, and this construct of release .*it lacks the parameters ConvictAlpha\. Use both of the same release\./],
  ['a newer release', () => ({ release: path.join(RELEASES, 'newer') }), /has the parameters FromTheFuture, which the construct does not know/],
  ['a damaged release', () => ({ release: path.join(RELEASES, 'damaged') }), /apigw-rollback-function-x86_64\.zip differs from SHA256SUMS/],
  ['a release without its code', () => ({ release: path.join(RELEASES, 'without-code') }), /There is no apigw-rollback-function-x86_64\.zip in/],
  ['an architecture that the release does not have', () => ({ architecture: 'arm64' }), /There is no apigw-rollback-function-arm64\.zip in/],
  ['a folder without a release', () => ({ release: '/nowhere' }), /There is no template\.yaml in \/nowhere\. Unpack a release/],
];

for (const [what, given, sentence] of REFUSED) {
  test(`${what} is refused in the synthesis`, () => {
    assert.throws(() => protectedApi(given), sentence);
  });
}

test('a stack name that leaves too little for the name of the function is refused', () => {
  const { stack } = protectedApi(undefined, 'x'.repeat(37));
  // CloudFormation names the nested stack after both, and appends a hyphen and up to 13 characters.
  const [id] = Object.keys(Template.fromStack(stack).findResources('AWS::CloudFormation::Stack'));
  assert.equal(`${stack.stackName}-${id}-`.length + 13, 64);
  assert.throws(() => protectedApi(undefined, 'x'.repeat(38)), /which leaves 37: give the stack a shorter stackName/);
});

test('two stages of one app can be protected, and one alarm can speak for both', () => {
  const { stack, rollback } = protectedApi();
  const api = new apigatewayv2.HttpApi(stack, 'Http');
  const alarm = new cloudwatch.Alarm(stack, 'Shared', {
    metric: new cloudwatch.Metric({ namespace: 'Orders', metricName: 'Failures' }), threshold: 1, evaluationPeriods: 1,
  });
  rollback.addAlarm(alarm);
  new ApiGatewayRollback(stack, 'Second', { release: GOOD, api, alarms: [alarm] });
  const [shared] = Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm'));
  const text = shared.Properties.AlarmDescription['Fn::Join'][1].filter((part: unknown) => typeof part === 'string').join('');
  assert.equal(text, 'rollback-target: /\nrollback-target: /$default');
  assert.equal(shared.Properties.AlarmActions.length, 2);
  assert.equal(Object.keys(Template.fromStack(stack).findResources('AWS::CloudFormation::Stack')).length, 2);
});
