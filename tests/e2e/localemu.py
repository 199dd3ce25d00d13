"""LocalEmu with an API of two releases, and the function beside it under Lambda's own emulator.

LocalEmu's gateway serves frozen deployments over real HTTP, refuses what AWS refuses, and knows canaries.
It runs Lambda functions only with Docker, so the function runs under the Runtime Interface Emulator that
aws-sam-cli carries.
"""

import contextlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

from stack import REGION, ROOT, TOOLS, StepFailed, clean_environment, free_port, stop_group, tail

API_NAME = "orders-api"
STAGE = "prod"
# The account that the Runtime Interface Emulator gives a function. LocalEmu takes an access key of twelve
# digits for the account, and the function rejects alarms of another one.
ACCOUNT = "012345678912"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class LocalEmu:
    """The emulator, the API and the function. Use as a context manager: leaving it cleans up."""

    def __init__(self, say):
        self.say = say
        self.work = Path(tempfile.mkdtemp(prefix="apigw-rollback-"))
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        self.processes = []
        self.api = None

    def __enter__(self):
        try:
            self._start_emulator()
            self._make_api()
            self._start_function()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception):
        for process in reversed(self.processes):
            stop_group(process)
        shutil.rmtree(self.work, ignore_errors=True)

    def client(self, service):
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name=REGION, aws_access_key_id=ACCOUNT,
            aws_secret_access_key="test",
            config=Config(proxies={}, retries={"total_max_attempts": 1}),
        )

    def release(self, status):
        """Makes the API answer with this status, and freezes that in a deployment."""
        gateway, method = self.client("apigateway"), {
            "restApiId": self.api, "resourceId": self.root, "httpMethod": "GET"}
        with contextlib.suppress(gateway.exceptions.NotFoundException):
            gateway.delete_method(**method)
        gateway.put_method(**method, authorizationType="NONE")
        gateway.put_method_response(**method, statusCode=str(status))
        template = json.dumps({"statusCode": status})
        gateway.put_integration(**method, type="MOCK", requestTemplates={"application/json": template})
        gateway.put_integration_response(**method, statusCode=str(status), selectionPattern="")
        return gateway.create_deployment(restApiId=self.api)["id"]

    def patch(self, **paths):
        """Changes the stage behind the function's back: `deploymentId="x"`, `variables__release="2"`."""
        operations = [
            {"op": "replace", "path": "/" + path.replace("__", "/"), "value": value}
            for path, value in paths.items()
        ]
        self.client("apigateway").update_stage(
            restApiId=self.api, stageName=STAGE, patchOperations=operations)

    def stage(self, name=STAGE):
        return self.client("apigateway").get_stage(restApiId=self.api, stageName=name)

    def request(self, stage=STAGE):
        """One request of a user: the HTTP status."""
        try:
            with _DIRECT.open(f"{self.endpoint}/_aws/execute-api/{self.api}/{stage}/", timeout=15) as answer:
                return answer.status
        except urllib.error.HTTPError as refusal:
            return refusal.code

    def invoke(self, event):
        """What the function answers; an error of the function is `{"errorType", "errorMessage"}`."""
        url = f"{self.function}/2015-03-31/functions/function/invocations"
        with _DIRECT.open(urllib.request.Request(url, data=json.dumps(event).encode()), timeout=90) as answer:
            return json.loads(answer.read())

    def command(self, name, **arguments):
        return self.invoke({"command": name, "stage": {"api": self.api, "name": STAGE}, **arguments})

    def _make_api(self):
        gateway = self.client("apigateway")
        self.api = gateway.create_rest_api(name=API_NAME)["id"]
        self.root = gateway.get_resources(restApiId=self.api)["items"][0]["id"]
        self.good = self.release(200)
        gateway.create_stage(
            restApiId=self.api, stageName=STAGE, deploymentId=self.good, variables={"release": "1"})

    def _start_emulator(self):
        host, port = "127.0.0.1", self.endpoint.rsplit(":", 1)[1]
        command = [TOOLS / "localemu" / "bin" / "localemu", "start", "--host", host, "--port", port]
        # LocalEmu calls itself, and an endpoint in its environment leads it astray.
        own = {key: value for key, value in clean_environment("").items() if not key.startswith("AWS_")}
        self._start("emulator", command, dict(own, TMPDIR=str(self.work)))
        self._wait("emulator", f"{self.endpoint}/_localemu/health")
        self.say(f"LocalEmu listens on {self.endpoint}")

    def _start_function(self):
        machine = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
        found = sorted((TOOLS / "sam").glob(f"lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}"))
        if not found:
            raise StepFailed("aws-sam-cli in .tools/sam has no aws-lambda-rie; run `make setup`")
        own, runtime = free_port(), free_port()
        self.function = f"http://127.0.0.1:{own}"
        stages = [{"api": self.api, "name": API_NAME, "stage": STAGE}]
        self._start(
            "function",
            [found[0], "--runtime-interface-emulator-address", f"127.0.0.1:{own}",
             "--runtime-api-address", f"127.0.0.1:{runtime}",
             ROOT / "target" / "debug" / "apigw-rollback-function"],
            dict(clean_environment(self.endpoint), AWS_ACCESS_KEY_ID=ACCOUNT,
                 PROTECTED_STAGES=json.dumps(stages), AWS_LAMBDA_FUNCTION_TIMEOUT="60"),
        )
        self._wait("function", f"{self.function}/")

    def _start(self, name, command, env):
        with (self.work / f"{name}.log").open("wb") as output:
            self.processes.append(subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, cwd=self.work, env=env, start_new_session=True,
            ))

    def _wait(self, name, url):
        """Until something answers, with whatever status."""
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(urllib.error.URLError, OSError):
                try:
                    _DIRECT.open(url, timeout=2).close()
                except urllib.error.HTTPError:
                    pass
                return
            if self.processes[-1].poll() is not None or time.monotonic() > deadline:
                print(tail(self.work / f"{name}.log"), file=sys.stderr)
                raise StepFailed(f"the {name} did not start; the end of its log is above")
            time.sleep(0.2)
