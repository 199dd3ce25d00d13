import { CfnOutput, CfnStack, Names, NestedStack, Stack, Token, Tokenization } from 'aws-cdk-lib';
import * as apigateway from 'aws-cdk-lib/aws-apigateway';
import * as apigatewayv2 from 'aws-cdk-lib/aws-apigatewayv2';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as actions from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as assets from 'aws-cdk-lib/aws-s3-assets';
import * as sns from 'aws-cdk-lib/aws-sns';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { Construct } from 'constructs';
import { acknowledgeFindings } from './nag';
import { SETTINGS } from './parameters';
import { Release } from './release';
import type { ApiGatewayRollbackSettings } from './settings';

/** Lambda's limit for the name of a function, which is the name of the nested stack. */
const LONGEST_NAME = 64;
/** CloudFormation appends a hyphen and up to 13 characters to the name of a nested stack. */
const NAME_SUFFIX = 14;

/** What `ApiGatewayRollback` protects, and how. */
export interface ApiGatewayRollbackProps extends ApiGatewayRollbackSettings {
  /** Folder with an unpacked release of apigw-rollback, of the same version as this construct. */
  readonly release: string;

  /** API to protect. */
  readonly api: apigateway.IRestApi | apigatewayv2.IHttpApi | apigatewayv2.IWebSocketApi;

  /**
   * Name of the API. That of a REST API is spelled exactly as in its CloudWatch metrics.
   *
   * @default - the name of a REST API in the app; an imported one must have been imported with its name. Reports about an
   * HTTP or WebSocket API show its id
   */
  readonly apiName?: string;

  /**
   * Stage to protect.
   *
   * @default - the default stage that the API created
   */
  readonly stage?: apigateway.IStage | apigatewayv2.IStage;

  /**
   * Alarms that may roll the stage back, besides those of the template. They get the alarm topic as action, and the
   * stage in their description.
   *
   * @default - only the alarms of the template
   */
  readonly alarms?: cloudwatch.AlarmBase[];

  /**
   * Topic to notify when the function acted, refused to act or failed.
   *
   * @default - none, or a topic of the stack if `notificationEmail` is set
   */
  readonly notificationTopic?: sns.ITopic;

  /**
   * Function that runs before and after a rollback.
   *
   * @default - none
   */
  readonly hook?: lambda.IFunction;

  /**
   * Symmetric key that encrypts the topics, the dead-letter queue and the log. Its policy must allow CloudWatch to use
   * it.
   *
   * @default - none
   */
  readonly encryptionKey?: kms.IKey;

  /**
   * Bus that receives every report.
   *
   * @default - none
   */
  readonly eventBus?: events.IEventBus;

  /**
   * Log group of the function, of the class Standard. `logRetentionDays` and `encryptionKey` do not apply to it.
   *
   * @default - a new log group
   */
  readonly logGroup?: logs.ILogGroup;

  /**
   * Policy that limits every role of the template. It must allow what the roles need.
   *
   * @default - none
   */
  readonly permissionsBoundary?: iam.IManagedPolicy;
}

/**
 * Returns a stage of an API to its last known-good release when an alarm fires.
 *
 * The construct deploys the released template of apigw-rollback as a nested stack. `cdk synth` fails if the release is
 * of another version, or if the template would refuse a value.
 */
export class ApiGatewayRollback extends Construct {
  /** Action for alarms that may roll the stage back. `addAlarm` uses it. */
  public readonly alarmTopic: sns.ITopic;
  /** The rollback function. */
  public readonly rollbackFunction: lambda.IFunction;
  /** Name of the rollback function, for the command line and for pipelines. */
  public readonly functionName: string;

  private readonly target: string;

  constructor(scope: Construct, id: string, props: ApiGatewayRollbackProps) {
    super(scope, id);
    refuseSiblings(props);
    const target = targetOf(props);
    const values = { ...settingsOf(props), ...target, ...connectionsOf(props) };
    const release = new Release(props.release, props.architecture ?? 'x86_64');
    release.check(values);
    this.target = `${target.ApiId}/${target.StageName}`;

    const code = new assets.Asset(this, 'Code', { path: release.codeFile });
    const nested = new NestedStack(this, 'Stack', {
      description: 'Returns an API Gateway stage to its last known-good release',
      parameters: { ...values, CodeBucket: code.s3BucketName, CodeKey: code.s3ObjectKey },
    });
    const included = new CfnInclude(nested, 'Template', { templateFile: release.templateFile });
    this.shortenName(nested);
    acknowledgeFindings(included);

    const output = (name: string) => (nested.nestedStackResource as CfnStack).getAtt(`Outputs.${name}`).toString();
    this.functionName = output('FunctionName');
    this.rollbackFunction = lambda.Function.fromFunctionName(this, 'Function', this.functionName);
    this.alarmTopic = sns.Topic.fromTopicArn(this, 'AlarmTopic', output('AlarmTopicArn'));
    for (const alarm of props.alarms ?? []) {
      this.addAlarm(alarm);
    }
  }

  /** Lets an alarm of the app roll the stage back. */
  public addAlarm(alarm: cloudwatch.AlarmBase): void {
    const own = alarm.node.defaultChild;
    if (!(own instanceof cloudwatch.CfnAlarm || own instanceof cloudwatch.CfnCompositeAlarm)) {
      throw new Error(`The alarm ${alarm.node.path} is not of this app. Where it is defined, let it notify the alarm `
        + `topic, and add "rollback-target: API/STAGE" to its description.`);
    }
    // The function reads from each line of the description for which stages an alarm speaks.
    const before = own.alarmDescription ? `${own.alarmDescription}\n` : '';
    own.alarmDescription = `${before}rollback-target: ${this.target}`;
    const action = new actions.SnsAction(this.alarmTopic);
    alarm.addAlarmAction(action);
    // The function learns from OK that the rollback has helped.
    alarm.addOkAction(action);
  }

  /** Adds an output with the function's name, for `apigw-rollback --function` in a pipeline. */
  public outputFunctionName(id: string): CfnOutput {
    return new CfnOutput(Stack.of(this), id, { value: this.functionName, description: 'Name of the rollback function' });
  }

  private shortenName(nested: NestedStack): void {
    const resource = nested.nestedStackResource as CfnStack;
    const id = `Rollback${Names.nodeUniqueId(nested.node).slice(-4)}`;
    resource.overrideLogicalId(id);
    const outer = Stack.of(this).stackName;
    const longest = LONGEST_NAME - NAME_SUFFIX - id.length - 1;
    if (!Token.isUnresolved(outer) && outer.length > longest) {
      throw new Error(`The stack ${outer} has a name of ${outer.length} characters. The rollback function is named after `
        + `a stack nested in it, which leaves ${longest}: give the stack a shorter stackName.`);
    }
  }
}

/** CloudFormation adds characters to the name of a nested stack, so the function has another name in each Region. */
function refuseSiblings(props: ApiGatewayRollbackProps): void {
  if (props.siblings?.length) {
    throw new Error('siblings need functions of the same name in all Regions, and CloudFormation adds other characters to '
      + 'the name of this nested stack in each Region. Deploy template.yaml of the release itself, as a stack of the same '
      + 'name in each Region.');
  }
}

/** Returns the parameters of the settings that the app gives. */
function settingsOf(props: ApiGatewayRollbackProps): { [name: string]: string } {
  const values: { [name: string]: string } = {};
  for (const [name, property] of Object.entries(SETTINGS)) {
    const value = props[property];
    if (typeof value === 'boolean') {
      values[name] = value ? 'on' : 'off';
    } else if (Array.isArray(value)) {
      values[name] = value.join(',');
    } else if (typeof value === 'object') {
      values[name] = Object.entries(value).map(([key, text]) => `${key}=${text}`).join(',');
    } else if (value !== undefined) {
      values[name] = typeof value === 'number' ? Tokenization.stringifyNumber(value) : value;
    }
  }
  return values;
}

/** Returns the parameters of what the app connects to the function. */
function connectionsOf(props: ApiGatewayRollbackProps): { [name: string]: string } {
  return {
    ...(props.notificationTopic && { NotificationTopicArn: props.notificationTopic.topicArn }),
    ...(props.hook && { HookFunctionArn: props.hook.functionArn }),
    ...(props.encryptionKey && { KmsKey: props.encryptionKey.keyArn }),
    ...(props.eventBus && { EventBus: props.eventBus.eventBusName }),
    ...(props.logGroup && { LogGroupName: props.logGroup.logGroupName }),
    ...(props.permissionsBoundary && { PermissionsBoundary: props.permissionsBoundary.managedPolicyArn }),
  };
}

/** Returns the parameters that name the API and the stage. */
function targetOf(props: ApiGatewayRollbackProps): { ApiId: string; StageName: string; [name: string]: string } {
  const { api } = props;
  if ('restApiId' in api) {
    const stage = props.stage ?? (api as apigateway.RestApi).deploymentStage;
    return { Protocol: 'REST', ApiId: api.restApiId, ApiName: props.apiName ?? nameOf(api), StageName: nameOfStage(stage, api) };
  }
  const stage = props.stage ?? (api as apigatewayv2.HttpApi).defaultStage;
  const found = { ApiId: api.apiId, StageName: nameOfStage(stage, api), ...(props.apiName && { ApiName: props.apiName }) };
  if ((api as apigatewayv2.IWebSocketApi).isWebsocketApi) {
    return { Protocol: 'WEBSOCKET', ...found };
  }
  return { Protocol: 'HTTP', ...found };
}

function nameOf(api: apigateway.IRestApi): string {
  // CDK gives an imported API without a name the id of its construct as name, which CloudWatch does not know.
  if (api.node.tryFindChild('Resource') === undefined && api.restApiName === api.node.id) {
    throw new Error(`The name of the imported REST API ${api.node.path} is not known, and CloudWatch knows the API by it. `
      + 'Give the property apiName.');
  }
  return api.restApiName;
}

function nameOfStage(stage: { readonly stageName: string } | undefined, api: Construct | { node: Construct['node'] }): string {
  if (stage === undefined) {
    throw new Error(`The API ${api.node.path} has no default stage. Give the property stage.`);
  }
  return stage.stageName;
}
