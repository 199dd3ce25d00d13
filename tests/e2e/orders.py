"""The sample APIs, functions, alarms and releases of the documents' commands, on MiniStack."""

import contextlib
import datetime
import json
import time

from parts import function_of_two_versions

API, NAME, STAGE = "a1b2c3d4e5", "orders-api", "prod"
SECOND, HTTP = "b2c3d4e5f6", "c3d4e5f6a7"
DOMAIN, PATH = "api.example.com", "orders"
PREFIX = "/apigw-rollback"


class Orders:
    """The sample world. `stack` is the emulator and the stack that the documents' commands deployed."""

    def __init__(self, stack):
        self.stack = stack
        self.gateway = stack.client("apigateway")
        self.store = stack.client("ssm")
        self.good = self._rest_api(API, NAME)
        self._rest_api(SECOND, "invoices-api")
        for stage in ("blue", "green"):
            self.gateway.create_stage(restApiId=API, stageName=stage, deploymentId=self.good)
        self._http_api()
        for function in ("orders", "invoices"):
            function_of_two_versions(stack.client, function, "live")
        self.gateway.create_domain_name(domainName=DOMAIN, endpointConfiguration={"types": ["REGIONAL"]})
        self.gateway.create_base_path_mapping(domainName=DOMAIN, basePath=PATH, restApiId=API, stage="green")
        stack.client("cloudwatch").put_metric_alarm(
            AlarmName="orders-5xx", Namespace="AWS/ApiGateway", MetricName="5XXError", Statistic="Average", Period=60,
            EvaluationPeriods=1, Threshold=0.05, ComparisonOperator="GreaterThanThreshold")

    def _rest_api(self, api, name):
        """Makes an API whose stage serves release 1. Returns its deployment."""
        self.gateway.create_rest_api(name=name, tags={"ms-custom-id": api})
        [root] = self.gateway.get_resources(restApiId=api)["items"]
        method = {"restApiId": api, "resourceId": root["id"], "httpMethod": "GET"}
        self.gateway.put_method(**method, authorizationType="NONE")
        self.gateway.put_integration(**method, type="MOCK")
        deployment = self.gateway.create_deployment(restApiId=api)["id"]
        self.gateway.create_stage(
            restApiId=api, stageName=STAGE, deploymentId=deployment, variables={"release": "1"})
        return deployment

    def _http_api(self):
        gateway = self.stack.client("apigatewayv2")
        gateway.create_api(Name="web", ProtocolType="HTTP", Tags={"ms-custom-id": HTTP})
        deployment = gateway.create_deployment(ApiId=HTTP)["DeploymentId"]
        gateway.create_stage(ApiId=HTTP, StageName="$default", DeploymentId=deployment, AutoDeploy=False)

    def stage(self, name=STAGE, api=API):
        return self.gateway.get_stage(restApiId=api, stageName=name)

    def stages(self):
        return [each["stageName"] for each in self.gateway.get_stages(restApiId=API)["item"]]

    def ask(self, command, **arguments):
        """Sends the function a command about the stage and returns its answer."""
        return self.stack.invoke({"command": command, "stage": {"api": API, "name": STAGE}, **arguments})

    def status(self):
        return self.ask("status")["details"]

    def change_stage(self, deployment, release):
        """Changes the stage. API Gateway's times are whole seconds: each change must be visibly later than the last."""
        time.sleep(1.1)
        self.gateway.update_stage(restApiId=API, stageName=STAGE, patchOperations=[
            {"op": "replace", "path": "/deploymentId", "value": deployment},
            {"op": "replace", "path": "/variables/release", "value": release}])

    # Preparations before a command.

    def no_stack(self):
        formation = self.stack.client("cloudformation")
        formation.delete_stack(StackName="apigw-rollback")
        formation.get_waiter("stack_delete_complete").wait(StackName="apigw-rollback", WaiterConfig={"Delay": 1})

    def with_tool(self):
        self.release.make_tool()

    def remember_settings(self):
        self.settings = self.function("apigw-rollback")["Environment"]

    def good_release(self):
        """Makes the stage serve release 1, and records it."""
        self.change_stage(self.good, "1")
        self.ask("release-hold")
        self.ask("record", label="v1")

    def new_release(self):
        """Deploys a release that the function has never seen."""
        self.good_release()
        self.bad = self.gateway.create_deployment(restApiId=API, description="v2")["id"]
        self.change_stage(self.bad, "2")

    def four_versions(self):
        """Records the good release four times, so that version 3 is not the newest."""
        with contextlib.suppress(self.store.exceptions.ParameterNotFound):
            self.store.delete_parameter(Name=f"{PREFIX}/stages/{API}/{STAGE}/known-good")
        self.good_release()
        for who in ("the second", "the third", "the fourth"):
            self.ask("record", label="v1", who=who)
        self.bad = self.gateway.create_deployment(restApiId=API, description="v2")["id"]
        self.change_stage(self.bad, "3")

    def with_traffic(self):
        """Lets a sweep see a new release, and gives its alarm data."""
        self.new_release()
        self.stack.client("cloudwatch").set_alarm_state(
            AlarmName="apigw-rollback-stage-errors", StateValue="OK", StateReason="a test")
        self.stack.invoke({"command": "sweep"})
        time.sleep(1.1)
        dimensions = [{"Name": "ApiName", "Value": NAME}, {"Name": "Stage", "Value": STAGE}]
        self.stack.client("cloudwatch").put_metric_data(Namespace="AWS/ApiGateway", MetricData=[
            {"MetricName": "5XXError", "Dimensions": dimensions, "Values": [0.0], "Unit": "Count"}])
        time.sleep(1.1)

    def held(self):
        self.ask("hold", until=self.later(), reason="a test")

    def rolled_back(self):
        self.new_release()
        self.ask("rollback", reason="a test")

    def second_is_recorded(self):
        self.stack.invoke({"command": "record", "stage": {"api": SECOND, "name": STAGE}})

    def on_file(self):
        """Writes a record without the function, which may be deleted by now."""
        for api in (API, SECOND):
            self.store.put_parameter(
                Name=f"{PREFIX}/stages/{api}/{STAGE}/known-good", Value="{}", Type="String", Overwrite=True)

    def parked(self):
        if f"{STAGE}-known-good" not in self.stages():
            self.gateway.create_stage(restApiId=API, stageName=f"{STAGE}-known-good", deploymentId=self.good)

    # Observations after a command.

    def with_settings_of_before(self):
        self.stack.client("lambda").update_function_configuration(
            FunctionName="apigw-rollback", Environment=self.settings)

    def parameters(self, path=PREFIX):
        pages = self.store.get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=True)
        return {each["Name"]: each["Value"] for page in pages for each in page["Parameters"]}

    def known_good(self, api=API):
        """Returns the newest record of an API's stage."""
        return json.loads(self.parameters()[f"{PREFIX}/stages/{api}/{STAGE}/known-good"])

    def incident(self):
        """Returns the fingerprint of the newest rollback, which `lift` takes."""
        past = self.status()["rollbacks"]
        return max(past, key=lambda one: one["at"])["fingerprint"] if past else "none"

    def alarm(self, name):
        return self.stack.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]

    def alias(self):
        return self.stack.client("lambda").get_alias(FunctionName="orders", Name="live")["FunctionVersion"]

    def auto_deploy(self):
        return self.stack.client("apigatewayv2").get_stage(ApiId=HTTP, StageName="$default")["AutoDeploy"]

    def concurrency(self):
        answer = self.stack.client("lambda").get_function_concurrency(FunctionName="apigw-rollback")
        return answer.get("ReservedConcurrentExecutions")

    def function(self, name):
        return self.stack.client("lambda").get_function_configuration(FunctionName=name)

    @staticmethod
    def later():
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        return until.isoformat(timespec="seconds").replace("+00:00", "Z")
