"""One story's part of the emulator: a REST API with three deployments, an alarm, a topic, and the function's records."""

import datetime
import json
import threading
import time

from parts import function_of_two_versions, target_of
from runtime_api import ACCOUNT, REGION

STAGE = "prod"
ALIAS = "live"
THRESHOLD = 5.0


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def stamp(at):
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


class Api:
    """A stage with a known-good release `good`, a bad one that is live, and a `fix` that somebody deploys."""

    def __init__(self, client, name, variables=None):
        self.client, self.name, self.has_alias = client, name, False
        gateway = client("apigateway")
        self.id = gateway.create_rest_api(name=name)["id"]
        root = gateway.get_resources(restApiId=self.id)["items"][0]["id"]
        method = {"restApiId": self.id, "resourceId": root, "httpMethod": "GET"}
        gateway.put_method(**method, authorizationType="NONE")
        gateway.put_integration(**method, type="MOCK")
        self.good, self.bad, self.fix = (
            gateway.create_deployment(restApiId=self.id)["id"] for _ in range(3))
        self.variables = variables or (lambda release: {"release": release})
        gateway.create_stage(
            restApiId=self.id, stageName=STAGE, deploymentId=self.good, variables=self.variables("1"))

    @property
    def alarm(self):
        return f"{self.name}-5xx"

    @property
    def entry(self):
        listed = {"aliases": [f"{self.name}:{ALIAS}"]} if self.has_alias else {}
        return {"api": self.id, "name": self.name, "stage": STAGE, **listed}

    def add_alias(self):
        """Makes a Lambda function of two versions, whose alias is a component of the release."""
        function_of_two_versions(self.client, self.name, ALIAS)
        self.has_alias = True

    def move_alias(self, version, **weights):
        self.client("lambda").update_alias(
            FunctionName=self.name, Name=ALIAS, FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": weights})

    def alias(self):
        return target_of(self.client("lambda"), self.name, ALIAS)

    @property
    def command(self):
        return {"stage": {"api": self.id, "name": STAGE}}

    def deploy(self, deployment, release):
        gateway = self.client("apigateway")
        operations = [{"op": "replace", "path": "/deploymentId", "value": deployment}]
        before = gateway.get_stage(restApiId=self.id, stageName=STAGE).get("variables", {})
        for name, value in self.variables(release).items():
            if before.get(name) != value:
                operations.append({"op": "replace", "path": f"/variables/{name}", "value": value})
        # API Gateway takes at most 20 operations at a time.
        for first in range(0, len(operations), 20):
            gateway.update_stage(
                restApiId=self.id, stageName=STAGE, patchOperations=operations[first:first + 20])

    def stages(self):
        return [stage["stageName"] for stage in self.client("apigateway").get_stages(restApiId=self.id)["item"]]

    def live(self):
        stage = self.client("apigateway").get_stage(restApiId=self.id, stageName=STAGE)
        names = {self.good: "good", self.bad: "bad", self.fix: "fix"}
        return names.get(stage["deploymentId"], stage["deploymentId"])

    def set_off(self, action, knows_time=True):
        """Creates the alarm, sets it off, and returns the event that CloudWatch sends, perhaps without its times."""
        at = now()
        reason = "Threshold Crossed: 1 out of the last 1 datapoints was greater than the threshold."
        data = json.dumps({
            "version": "1.0", "queryDate": stamp(at), "startDate": stamp(at - datetime.timedelta(seconds=1)),
            "statistic": "Average", "period": 60, "recentDatapoints": [42.0], "threshold": THRESHOLD})
        cloudwatch = self.client("cloudwatch")
        cloudwatch.put_metric_alarm(
            AlarmName=self.alarm, Namespace="AWS/ApiGateway", MetricName="5XXError", Statistic="Average", Period=60,
            Dimensions=[{"Name": "ApiName", "Value": self.name}, {"Name": "Stage", "Value": STAGE}],
            EvaluationPeriods=1, Threshold=THRESHOLD, ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching", AlarmActions=[action])
        cloudwatch.set_alarm_state(
            AlarmName=self.alarm, StateValue="ALARM", StateReason=reason, StateReasonData=data)
        metric = {"namespace": "AWS/ApiGateway", "name": "5XXError",
                  "dimensions": {"ApiName": self.name, "Stage": STAGE}}
        event = {
            "source": "aws.cloudwatch",
            "alarmArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{self.alarm}",
            "accountId": ACCOUNT, "time": stamp(at), "region": REGION,
            "alarmData": {
                "alarmName": self.alarm,
                "state": {"value": "ALARM", "reason": reason, "reasonData": data, "timestamp": stamp(at)},
                "previousState": {"value": "OK", "reason": "quiet", "timestamp": stamp(at)},
                "configuration": {"metrics": [{
                    "id": "m1", "returnData": True,
                    "metricStat": {"metric": metric, "period": 60, "stat": "Average"}}]},
            },
        }
        if not knows_time:
            del event["time"], event["alarmData"]["state"]["timestamp"]
        return event


class Somebody:
    """Does something once, some seconds after a call of the function has arrived: deploys the fix, or moves the alias."""

    def __init__(self, api, on, nth, after, what="deploy"):
        self.api, self.on, self.nth, self.after, self.what = api, on, nth, after, what
        self.seen = 0
        self.done_at = None
        self._timer = None

    def called(self, operation, about):
        if operation != self.on.split(" ")[0] or not all(word in about for word in self.on.split(" ")[1:]):
            return
        self.seen += 1
        if self.seen == self.nth:
            self._timer = threading.Timer(self.after, self._act)
            self._timer.start()

    def _act(self):
        if self.what == "deploy":
            self.api.deploy(self.api.fix, "3")
        elif self.what == "weights":
            self.api.move_alias("1", **{"2": 0.5})
        else:
            self.api.move_alias(self.what)
        self.done_at = time.monotonic()

    def finish(self):
        if self._timer is not None:
            self._timer.join()
