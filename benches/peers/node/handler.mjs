// The same rollback as a Node function: reads the record and the stage, then rolls the stage back.
import { APIGatewayClient, GetStageCommand, UpdateStageCommand } from "@aws-sdk/client-api-gateway";
import { GetParameterCommand, SSMClient } from "@aws-sdk/client-ssm";

const ssm = new SSMClient({ maxAttempts: 5 });
const gateway = new APIGatewayClient({ maxAttempts: 5 });
// Alarms identify an API by its name, calls by its id.
const apiIds = JSON.parse(process.env.API_IDS);

export async function handler(event) {
  const alarm = JSON.parse(event.Records[0].Sns.Message);
  if (alarm.NewStateValue !== "ALARM") {
    return { outcome: "ignored" };
  }
  const dimensions = Object.fromEntries(alarm.Trigger.Dimensions.map((one) => [one.name, one.value]));
  const restApiId = apiIds[dimensions.ApiName];
  const stage = { restApiId, stageName: dimensions.Stage };
  const record = `/apigw-rollback/stages/${restApiId}/${dimensions.Stage}/known-good`;

  const [found, live] = await Promise.all([
    ssm.send(new GetParameterCommand({ Name: record })),
    gateway.send(new GetStageCommand(stage)),
  ]);
  const good = JSON.parse(found.Parameter.Value).release;
  if (live.deploymentId === good.deployment) {
    return { outcome: "already-known-good" };
  }

  const variables = live.variables ?? {};
  const patchOperations = [{ op: "replace", path: "/deploymentId", value: good.deployment }];
  for (const [name, value] of Object.entries(good.variables)) {
    if (variables[name] !== value) {
      patchOperations.push({ op: "replace", path: `/variables/${name}`, value });
    }
  }
  for (const name of Object.keys(variables).filter((name) => !(name in good.variables))) {
    patchOperations.push({ op: "remove", path: `/variables/${name}` });
  }
  const after = await gateway.send(new UpdateStageCommand({ ...stage, patchOperations }));
  const report = { outcome: "rolled-back", before: live.deploymentId, after: after.deploymentId };
  console.log(JSON.stringify(report));
  return report;
}
