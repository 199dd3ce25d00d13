// A REST API with its protection. RELEASE is the folder of an unpacked release.
import { App, CfnOutput, Duration, Stack } from 'aws-cdk-lib';
import * as apigateway from 'aws-cdk-lib/aws-apigateway';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as sns from 'aws-cdk-lib/aws-sns';
import { ApiGatewayRollback } from 'apigw-rollback-cdk';

const app = new App();
const stack = new Stack(app, 'orders');

const api = new apigateway.RestApi(stack, 'Api', {
  restApiName: 'orders',
  cloudWatchRole: false,
  // CDK then keeps the deployments to which a stage can be rolled back.
  retainDeployments: true,
});
api.root.addMethod('GET', new apigateway.MockIntegration({
  requestTemplates: { 'application/json': '{"statusCode": 200}' },
  integrationResponses: [{ statusCode: '200' }],
}), { methodResponses: [{ statusCode: '200' }] });

const checkout = new cloudwatch.Alarm(stack, 'Checkout', {
  metric: new cloudwatch.Metric({ namespace: 'Orders', metricName: 'CheckoutFailures', statistic: 'Sum', period: Duration.minutes(1) }),
  threshold: 5,
  evaluationPeriods: 1,
  treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
});

const rollback = new ApiGatewayRollback(stack, 'Rollback', {
  release: process.env.RELEASE ?? '../../../target/dist',
  api,
  alarms: [checkout],
  notificationTopic: new sns.Topic(stack, 'People'),
  latencyP99Threshold: 3000,
  // The plain average of the 5xx metric; leave this out to ignore the error rate of periods with few requests.
  minimumRequests: 0,
});

new CfnOutput(stack, 'ApiId', { value: api.restApiId });
rollback.outputFunctionName('FunctionName');
