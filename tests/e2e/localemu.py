"""LocalEmu with a REST API of two releases, and a process of the function.

LocalEmu's gateway serves frozen deployments over real HTTP, refuses the same requests as AWS, and supports canaries.
It runs Lambda functions only with Docker, so the function runs under the Runtime Interface Emulator.
"""

import contextlib
import json
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

import function
from function import ACCOUNT
from orders import API
from parts import frozen
from processes import Processes
from stack import REGION, TOOLS, clean_environment, free_port

API_NAME = "orders-api"
STAGE = "prod"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def client(endpoint, service):
    """Returns a client of an emulated AWS service that ignores the user's AWS settings."""
    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id=ACCOUNT,
        aws_secret_access_key="test", config=Config(proxies={}, retries={"total_max_attempts": 1}),
    )


class LocalEmu:
    """The emulator, the API and the function, as a context manager that cleans up."""

    def __init__(self, say):
        self.say = say
        self.processes = Processes()
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        self.api = None

    def __enter__(self):
        try:
            start(self.processes, self.endpoint)
            self.say(f"LocalEmu listens on {self.endpoint}")
            self._make_api()
            self.function = self.start_function({"api": self.api, "name": API_NAME, "stage": STAGE})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception):
        self.processes.end()

    def client(self, service):
        return client(self.endpoint, service)

    def start_function(self, entry, **settings):
        """Starts another process of the function, for the stage of this entry."""
        return function.start(self.processes, entry, self.endpoint, **settings)

    def release(self, status):
        """Makes the API answer with this status. Returns a deployment that freezes it."""
        return frozen(self.client("apigateway"), self.api, status)

    def patch(self, stage=STAGE, **paths):
        """Changes the stage without the function: `deploymentId="x"`, `variables__release="2"`."""
        operations = [
            {"op": "replace", "path": "/" + path.replace("__", "/"), "value": value}
            for path, value in paths.items()
        ]
        self.client("apigateway").update_stage(
            restApiId=self.api, stageName=stage, patchOperations=operations)

    def stage(self, name=STAGE):
        return self.client("apigateway").get_stage(restApiId=self.api, stageName=name)

    def request(self, stage=STAGE):
        """Sends one request as a user and returns the HTTP status."""
        try:
            with _DIRECT.open(f"{self.endpoint}/_aws/execute-api/{self.api}/{stage}/", timeout=15) as answer:
                return answer.status
        except urllib.error.HTTPError as refusal:
            return refusal.code

    def invoke(self, event):
        return self.function.invoke(event)

    def command(self, name, **arguments):
        return self.function.command(name, **arguments)

    def parameter(self, api, stage, what):
        """Returns the name that the function gives a parameter of a stage."""
        return f"/apigw-rollback/stages/{api}/{stage.replace('$', '_24')}/{what}"

    def record(self, api, stage):
        """Returns the known-good record of a stage."""
        found = self.client("ssm").get_parameter(Name=self.parameter(api, stage, "known-good"))
        return json.loads(found["Parameter"]["Value"])

    def write(self, api, stage, what, value):
        """Replaces a parameter, so that it has no older versions."""
        store, name = self.client("ssm"), self.parameter(api, stage, what)
        with contextlib.suppress(store.exceptions.ParameterNotFound):
            store.delete_parameter(Name=name)
        store.put_parameter(Name=name, Value=json.dumps(value), Type="String")

    def _make_api(self):
        gateway = self.client("apigateway")
        # The documents' commands use this id.
        self.api = gateway.create_rest_api(name=API_NAME, tags={"_custom_id_": API})["id"]
        self.good = self.release(200)
        gateway.create_stage(
            restApiId=self.api, stageName=STAGE, deploymentId=self.good, variables={"release": "1"})


def start(processes, endpoint):
    """Starts LocalEmu at this address, and waits until it answers."""
    host, port = "127.0.0.1", endpoint.rsplit(":", 1)[1]
    command = [TOOLS / "localemu" / "bin" / "localemu", "start", "--host", host, "--port", port]
    # LocalEmu calls its own API, and an endpoint in its environment would misdirect it.
    own = {key: value for key, value in clean_environment("").items() if not key.startswith("AWS_")}
    processes.start("localemu", command, dict(own, TMPDIR=str(processes.work)))
    processes.wait("localemu", f"{endpoint}/_localemu/health")
