"""`make drill STACK=name`: trips the alarm of a sandbox stack, and asserts that the function rolls the stage back.

It first measures how late the metrics of the stage's access log arrive, if the stage has them (delivery.py).

The drill deploys a release of its own (a new deployment of the unchanged API, with the stage variable `drill`), sets
the stack's alarm to ALARM, and waits. In any case it then restores the stage, deletes its deployment and lifts its
quarantine. It uses your credentials and Region.
"""

import contextlib
import datetime
import json
import os
import sys
import time

import boto3
from botocore.exceptions import BotoCoreError, ClientError

import delivery

PATIENCE = 120
USAGE = """\
usage: make drill STACK=name [YES=1] [URL=https://...]
STACK is a sandbox stack of this template. For some seconds its stage serves a release that differs only in a stage
variable, and its alarm is set to ALARM. If the stage has an access log with metrics, the drill first sends it some
requests, to URL or to the address of the stage, and measures how late they are counted. YES=1 skips the confirmation."""


class NotDrilled(Exception):
    """The drill cannot run, or the function did not roll back; the message says why and what to do."""


class Sandbox:
    """The stack under drill."""

    def __init__(self, name, client=boto3.client):
        self.client, self.name = client, name
        self.began = datetime.datetime.now(datetime.timezone.utc).isoformat()
        stack = client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
        given = {each["ParameterKey"]: each["ParameterValue"] for each in stack.get("Parameters", [])}
        try:
            self.function, self.api = outputs["FunctionName"], outputs["ProtectedApi"]
            self.alarm = outputs["StageAlarms"].split(",")[0].strip()
        except KeyError as missing:
            raise NotDrilled(f"the stack `{name}` has no output {missing}; name a stack of this template") from None
        self.stage = given.get("StageName", "prod")
        protocol = given.get("Protocol", "REST")
        self.is_rest = protocol == "REST"
        self.url = None if protocol == "WEBSOCKET" else os.environ.get("URL") or outputs.get("SampleUrl") or self._address()
        self.gateway = client("apigateway" if self.is_rest else "apigatewayv2")

    def _address(self):
        region = self.client("cloudformation").meta.region_name
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        path = "" if self.stage == "$default" else f"{self.stage}/"
        return f"https://{self.api}.execute-api.{region}.{suffix}/{path}"

    def access_log(self):
        """Returns the format of the stage's access log, or `None`."""
        if self.is_rest:
            stage = self.gateway.get_stage(restApiId=self.api, stageName=self.stage)
            return (stage.get("accessLogSettings") or {}).get("format")
        stage = self.gateway.get_stage(ApiId=self.api, StageName=self.stage)
        return (stage.get("AccessLogSettings") or {}).get("Format")

    def ask(self, command, **more):
        """Sends the function a command and returns its report."""
        payload = {"command": command, "stage": {"api": self.api, "name": self.stage}, "who": "drill", **more}
        answer = self.client("lambda").invoke(FunctionName=self.function, Payload=json.dumps(payload).encode())
        report = json.loads(answer["Payload"].read())
        if "errorMessage" in report:
            raise NotDrilled(f"the function failed on `{command}`: {report['errorMessage']}")
        return report

    def live(self):
        """Returns the deployment and the variables that the stage serves."""
        if self.is_rest:
            stage = self.gateway.get_stage(restApiId=self.api, stageName=self.stage)
            return stage["deploymentId"], stage.get("variables", {})
        stage = self.gateway.get_stage(ApiId=self.api, StageName=self.stage)
        return stage["DeploymentId"], stage.get("StageVariables", {})

    def deploy(self):
        """Deploys a release that differs from the live one only in a stage variable. Returns its deployment."""
        if self.is_rest:
            made = self.gateway.create_deployment(restApiId=self.api, description="drill")["id"]
        else:
            made = self.gateway.create_deployment(ApiId=self.api, Description="drill")["DeploymentId"]
        self.point_at(made, {**self.live()[1], "drill": made})
        return made

    def point_at(self, deployment, variables):
        if self.is_rest:
            operations = [{"op": "replace", "path": "/deploymentId", "value": deployment}]
            operations += [
                {"op": "replace", "path": f"/variables/{name}", "value": value} for name, value in variables.items()]
            gone = set(self.live()[1]) - set(variables)
            operations += [{"op": "remove", "path": f"/variables/{name}"} for name in sorted(gone)]
            self.gateway.update_stage(restApiId=self.api, stageName=self.stage, patchOperations=operations)
        else:
            gone = {name: "" for name in self.live()[1]}
            self.gateway.update_stage(
                ApiId=self.api, StageName=self.stage, DeploymentId=deployment, StageVariables={**gone, **variables})

    def forget(self, deployment):
        if self.is_rest:
            self.gateway.delete_deployment(restApiId=self.api, deploymentId=deployment)
        else:
            self.gateway.delete_deployment(ApiId=self.api, DeploymentId=deployment)

    def alarm_state(self):
        return self.client("cloudwatch").describe_alarms(AlarmNames=[self.alarm])["MetricAlarms"][0]["StateValue"]

    def set_alarm(self, state):
        self.client("cloudwatch").set_alarm_state(
            AlarmName=self.alarm, StateValue=state, StateReason="apigw-rollback drill")


def drill(sandbox, say):
    """Runs the drill. Raises NotDrilled if the function does not roll the stage back."""
    before = sandbox.live()
    verdict = sandbox.ask("status")["details"]["alarm_now"]
    if verdict.get("reason") != "already-known-good":
        raise NotDrilled(f"the stage does not serve its known-good release, or is held: {verdict.get('why', verdict)}")
    if sandbox.alarm_state() == "ALARM":
        raise NotDrilled(f"the alarm {sandbox.alarm} is in ALARM, so setting it to ALARM is no change; wait until it is OK")
    made = sandbox.deploy()
    say(f"stage {sandbox.stage} serves the drill's deployment {made} instead of {before[0]}")
    try:
        verdict = sandbox.ask("status")["details"]["alarm_now"]
        if verdict.get("verdict") != "act":
            raise NotDrilled(f"an alarm would change nothing now: {verdict.get('why', verdict)}")
        # API Gateway's times are whole seconds: the alarm must be visibly later than the change.
        time.sleep(1.5)
        sandbox.set_alarm("ALARM")
        tripped = time.monotonic()
        say(f"alarm {sandbox.alarm} is set to ALARM")
        while sandbox.live() != before:
            if time.monotonic() - tripped > PATIENCE:
                raise NotDrilled(
                    f"the stage was not rolled back within {PATIENCE} s; run `doctor` and read the function's log")
            time.sleep(0.5)
        say(f"the stage serves {before[0]} again after {time.monotonic() - tripped:.1f} s")
    finally:
        clean_up(sandbox, before, made, say)


def clean_up(sandbox, before, made, say):
    """Restores the stage and removes all traces of the drill, even if the drill failed."""
    sandbox.set_alarm("OK")
    if sandbox.live() != before:
        sandbox.point_at(*before)
        say(f"the drill restored deployment {before[0]} itself")
    for past in sandbox.ask("status")["details"]["rollbacks"]:
        if past["at"] >= sandbox.began and not past["lifted"]:
            sandbox.ask("lift", incident=past["fingerprint"], reason="it was a drill")
    with contextlib.suppress(ClientError):
        sandbox.forget(made)
    say("the drill deleted its deployment and lifted its quarantine")


def main():
    name = os.environ.get("STACK", "")
    if not name:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        sandbox = Sandbox(name)
        if os.environ.get("YES", "") in ("", "0"):
            question = f"trip {sandbox.alarm} and move stage {sandbox.api}/{sandbox.stage} of stack {name}? [y/N] "
            if not sys.stdin.isatty() or input(question).strip().lower() != "y":
                print("nothing was changed; YES=1 skips the confirmation", file=sys.stderr)
                return 2
        delivery.measure(sandbox, print)
        drill(sandbox, print)
    except (NotDrilled, ClientError, BotoCoreError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    print("the drill passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
