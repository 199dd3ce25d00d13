import { Validations } from 'aws-cdk-lib';
import type { CfnInclude } from 'aws-cdk-lib/cloudformation-include';

/**
 * The resources with a wildcard in a policy of the template, as cdk-nag writes them. docs/permissions.md says which call
 * needs which. A new wildcard in the template is a new finding until somebody has looked at it and added it here.
 */
const WILDCARDS: { readonly [id: string]: { readonly reason: string; readonly resources: readonly string[] } } = {
  FunctionRole: {
    reason: "The API's own deployments, the stage's own records, the streams of the log, and actions that know no resource",
    resources: [
      '["${Api}/deployments/*",{"Api":{"Fn::Sub":["arn:${AWS::Partition}:apigateway:${AWS::Region}::/${Apis}/${Id}",{"Apis":{"Fn::FindInMap":["Kind",{"Ref":"Protocol"},"Apis"]},"Id":{"Fn::If":["IsRest",{"Fn::If":["CreateSample",{"Ref":"SampleApi"},{"Ref":"ApiId"}]},{"Fn::If":["CreateSample",{"Ref":"SampleHttpApi"},{"Ref":"ApiId"}]}]}}]}}]',
      '["${Records}/*",{"Records":{"Fn::Sub":["arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter${ParameterPrefix}/stages/${Id}/${Stage}",{"Id":{"Fn::If":["IsRest",{"Fn::If":["CreateSample",{"Ref":"SampleApi"},{"Ref":"ApiId"}]},{"Fn::If":["CreateSample",{"Ref":"SampleHttpApi"},{"Ref":"ApiId"}]}]},"Stage":{"Fn::If":["IsDefaultStage","_24default",{"Fn::Join":["__",{"Fn::Split":["_",{"Ref":"StageName"}]}]}]}}]}}]',
      'arn:<AWS::Partition>:ssm:<AWS::Region>:<AWS::AccountId>:parameter<ParameterPrefix>/names/*',
      '["${Records}/incidents/*",{"Records":{"Fn::Sub":["arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter${ParameterPrefix}/stages/${Id}/${Stage}",{"Id":{"Fn::If":["IsRest",{"Fn::If":["CreateSample",{"Ref":"SampleApi"},{"Ref":"ApiId"}]},{"Fn::If":["CreateSample",{"Ref":"SampleHttpApi"},{"Ref":"ApiId"}]}]},"Stage":{"Fn::If":["IsDefaultStage","_24default",{"Fn::Join":["__",{"Fn::Split":["_",{"Ref":"StageName"}]}]}]}}]}}]',
      '{"Fn::If":["CreateLog",{"Fn::GetAtt":["FunctionLog","Arn"]},{"Fn::Sub":"arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${LogGroupName}:*"}]}',
      '*',
    ],
  },
  AliasPolicy: {
    reason: 'CloudFormation can join the names of the listed functions to no partition, Region and account; CodeDeploy knows no resource for reads',
    resources: [
      '*',
      '{"Fn::Split":[",",{"Fn::Sub":["arn:*:lambda:*:*:function:${Names}",{"Names":{"Fn::Join":[",arn:*:lambda:*:*:function:",{"Fn::Split":[",",{"Ref":"Functions"}]}]}}]}]}',
      '{"Fn::Split":[",",{"Fn::Sub":["arn:*:lambda:*:*:function:${Names},arn:*:lambda:*:*:function:${Versions}:*",{"Names":{"Fn::Join":[",arn:*:lambda:*:*:function:",{"Fn::Split":[",",{"Ref":"Functions"}]}]},"Versions":{"Fn::Join":[":*,arn:*:lambda:*:*:function:",{"Fn::Split":[",",{"Ref":"Functions"}]}]}}]}]}',
    ],
  },
  BasePathPolicy: {
    reason: 'The mapping of the listed domain; AWS does not document how an ARN writes the root',
    resources: [
      '["arn:${AWS::Partition}:apigateway:${AWS::Region}::/domainnames/${DomainName}/basepathmappings/${Path}",{"Path":{"Fn::If":["HasBasePath",{"Ref":"BasePath"},"*"]}}]',
    ],
  },
  ApiMappingPolicy: {
    reason: 'The mappings of the listed domain, whose ids only API Gateway knows',
    resources: [
      'arn:<AWS::Partition>:apigateway:<AWS::Region>::/domainnames/<DomainName>/apimappings/*',
    ],
  },
  MappedStagesPolicy: {
    reason: 'The routing rules of the listed domain, and the stages of the protected API',
    resources: [
      'arn:<AWS::Partition>:apigateway:<AWS::Region>:<AWS::AccountId>:/domainnames/<DomainName>/routingrules/*',
      '["${Api}/stages/*",{"Api":{"Fn::Sub":["arn:${AWS::Partition}:apigateway:${AWS::Region}::/${Apis}/${Id}",{"Apis":{"Fn::FindInMap":["Kind",{"Ref":"Protocol"},"Apis"]},"Id":{"Fn::If":["IsRest",{"Fn::If":["CreateSample",{"Ref":"SampleApi"},{"Ref":"ApiId"}]},{"Fn::If":["CreateSample",{"Ref":"SampleHttpApi"},{"Ref":"ApiId"}]}]}}]}}]',
    ],
  },
  TellPeoplePolicy: {
    reason: "The marks of sent notifications, below the stack's own prefix",
    resources: [
      'arn:<AWS::Partition>:ssm:<AWS::Region>:<AWS::AccountId>:parameter<ParameterPrefix>/told/*',
    ],
  },
};

/** The findings on the sample API, which this construct never creates. */
const SAMPLE = [
  'AwsSolutions-APIG1', 'AwsSolutions-APIG2', 'AwsSolutions-APIG3', 'AwsSolutions-APIG4', 'AwsSolutions-APIG6',
  'AwsSolutions-COG4', 'AwsSolutions-L1',
  'AwsSolutions-IAM4[Policy::arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]',
];

/** Acknowledges what cdk-nag finds in the template, with the reasons, so that the app's own findings stand out. */
export function acknowledgeFindings(template: CfnInclude): void {
  for (const [id, { reason, resources }] of Object.entries(WILDCARDS)) {
    acknowledge(template, id, resources.map((resource) => `AwsSolutions-IAM5[Resource::${resource}]`), reason);
  }
  acknowledge(template, 'DeadLetterQueue', ['AwsSolutions-SQS3'], 'The queue is the dead-letter queue of the function');
  for (const sample of template.node.children.filter((child) => child.node.id.startsWith('Sample'))) {
    acknowledge(template, sample.node.id, SAMPLE, 'The construct protects an API of the app and creates no sample API');
  }
}

function acknowledge(template: CfnInclude, id: string, rules: readonly string[], reason: string): void {
  const resource = template.node.tryFindChild(id);
  // `Validations.acknowledge` refuses an id with more than one `::`, which every ARN with a pseudo parameter has.
  resource?.node.addMetadata(Validations.ACKNOWLEDGED_RULES_METADATA_KEY, Object.fromEntries(rules.map((rule) => [rule, reason])));
}
