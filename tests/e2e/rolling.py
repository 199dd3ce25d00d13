"""A REST stage whose canary gets its share of real requests, and the deployed function, for rollouts.

MiniStack keeps no canary. So LocalEmu replaces API Gateway, and everything else is MiniStack: it runs the function and keeps the
records, the log groups and the metrics. LocalEmu decides for each request which deployment answers it, and the answer
itself names the release, because it is part of the frozen deployment.
"""

import json
import shutil
import subprocess
import time
import zipfile

from metrics import AccessLog, Answer
from parts import frozen
from repeated import Repeated
from stack import REGION, ROOT, STAGE_NAME, Stack

API_NAME = "orders-api"
FUNCTION = "apigw-rollback"
GROUP = "/orders/access-log"
COMMAND_LINE = ROOT / "target" / "debug" / "apigw-rollback"


class RolloutStack(Stack):
    """MiniStack with the function, and the API on LocalEmu, which listens on `gateway`."""

    def __init__(self, timeline, gateway):
        super().__init__(timeline)
        self.gateway = gateway
        # The deployment of each release.
        self.deployments = {}

    def __enter__(self):
        super().__enter__()
        try:
            self._make_api()
            self._make_function()
        except BaseException:
            self.__exit__()
            raise
        return self

    def endpoint_of(self, service):
        return self.gateway if service == "apigateway" else self.endpoint

    @property
    def environment(self):
        """The environment of an operator's shell."""
        return dict(self.env, AWS_ENDPOINT_URL_API_GATEWAY=self.gateway)

    @property
    def url(self):
        return f"{self.gateway}/_aws/execute-api/{self.api}/{STAGE_NAME}/"

    def release(self, name, status):
        """Makes the API answer with this status and the release's name. Returns a deployment that freezes it."""
        body = json.dumps({"release": name})
        self.deployments[name] = frozen(self.client("apigateway"), self.api, status, **{"application/json": body})
        return self.deployments[name]

    def share(self):
        """Returns the deployment of the stage, and its canary as (deployment, share in percent); `None` without a canary."""
        stage = self.stage()
        canary = stage.get("canarySettings")
        return stage["deploymentId"], canary and (canary["deploymentId"], canary["percentTraffic"])

    def ask(self, name, **arguments):
        """Sends the function a command about the stage. Returns its reports."""
        return reports_of(self.command(name, **arguments))

    def advance(self):
        """Does what the schedule does. Returns the reports about the stage, and where its rollout stands."""
        *reports, last = reports_of(self.invoke({"command": "advance"}))
        return reports, "; ".join(each["state"] for each in last["details"] or [])

    def _make_api(self):
        """Makes an API whose stage serves release 1, with the access log that `apigw-rollback access-log` prints."""
        gateway = self.client("apigateway")
        api = gateway.create_rest_api(name=API_NAME)["id"]
        self.outputs = {"ProtectedApi": api, "FunctionName": FUNCTION}
        gateway.create_stage(
            restApiId=api, stageName=STAGE_NAME, deploymentId=self.release("v1", 200), variables={"release": "1"})
        printed = subprocess.run([COMMAND_LINE, "access-log", "rest"], capture_output=True, text=True, check=True)
        for end in ("", "/Canary"):
            self.client("logs").create_log_group(logGroupName=GROUP + end)
        setting = {"destinationArn": f"arn:aws:logs:{REGION}:000000000000:log-group:{GROUP}", "format": printed.stdout.strip()}
        gateway.update_stage(restApiId=api, stageName=STAGE_NAME, patchOperations=[
            {"op": "replace", "path": f"/accessLogSettings/{name}", "value": value} for name, value in setting.items()])

    def _make_function(self):
        """Deploys the function as it was built, without what only a debugger reads."""
        built, archive = self.work / "bootstrap", self.work / "function.zip"
        shutil.copy(ROOT / "target" / "debug" / "apigw-rollback-function", built)
        subprocess.run(["strip", built], check=True)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            packed.write(built, "bootstrap")
        protected = [{"api": self.api, "name": API_NAME, "stage": STAGE_NAME}]
        self.client("lambda").create_function(
            FunctionName=FUNCTION, Runtime="provided.al2023", Handler="bootstrap", Timeout=60,
            Role="arn:aws:iam::000000000000:role/apigw-rollback", Code={"ZipFile": archive.read_bytes()},
            Environment={"Variables": {
                "PROTECTED_STAGES": json.dumps(protected), "AWS_ENDPOINT_URL_API_GATEWAY": self.gateway}})


class RolloutUsers(Repeated):
    """Sends real requests to the stage: on demand, or all the time while it is entered as a context manager.

    Each answer becomes a line in the access log of the stage, or in that of its canary, and the line's metrics. All the time,
    a line is written `late` seconds after its request.
    """

    # So many requests each tenth of a second: 50 a second, if the machine can.
    AT_ONCE = 5
    EVERY = 0.1

    def __init__(self, stack, late=0):
        super().__init__("users got no answer")
        self.stack = stack
        self.late = late
        self.answers = []
        self._log, self._canary_log = AccessLog(stack), AccessLog(stack, "/Canary")
        self._unwritten = []
        self._due_at = time.monotonic()

    def ask(self, number):
        """Sends requests, and writes nothing. Returns the answers."""
        (_, canary), deployments, answers = self.stack.share(), self.stack.deployments, []
        for _ in range(number):
            at, began = time.time(), time.monotonic()
            status, release = self.stack.answer()
            latency = int(1000 * (time.monotonic() - began))
            deployment = deployments.get(release, "-")
            answers.append(Answer(at, deployment, status, latency, canary is not None and canary[0] == deployment))
        self.answers.extend(answers)
        return answers

    def log(self, answers):
        """Writes the lines of these answers, and makes their metrics readable."""
        for log, by_canary in ((self._log, False), (self._canary_log, True)):
            lines = [answer for answer in answers if answer.by_canary == by_canary]
            if lines:
                log.write(lines)

    def send(self, number):
        """Sends requests, and writes their lines. Returns the answers."""
        answers = self.ask(number)
        self.log(answers)
        return answers

    def pause(self):
        return max(0.0, self._due_at - time.monotonic())

    def work(self):
        self._due_at = max(self._due_at + self.EVERY, time.monotonic())
        self._unwritten += self.ask(self.AT_ONCE)
        due = [answer for answer in self._unwritten if answer.at + self.late <= time.time()]
        self.log(due)
        self._unwritten = self._unwritten[len(due):]


def reports_of(answer):
    """Returns the reports of a run. The function does not wrap a single one."""
    return answer.get("reports", [answer])


def answered_by(answers, deployment):
    """Returns how many of the answers came from a deployment."""
    return sum(answer.deployment == deployment for answer in answers)
