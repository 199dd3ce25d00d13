"""LocalEmu with a REST API of two releases, and the function beside it.

LocalEmu's gateway serves frozen deployments over real HTTP, refuses what AWS refuses, and knows canaries.
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
from processes import Processes
from stack import REGION, TOOLS, clean_environment, free_port

API_NAME = "orders-api"
STAGE = "prod"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def client(endpoint, service):
    """A client of an emulated AWS service, deaf to the settings of the machine's user."""
    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id=ACCOUNT,
        aws_secret_access_key="test", config=Config(proxies={}, retries={"total_max_attempts": 1}),
    )


class LocalEmu:
    """The emulator, the API and the function. Use as a context manager: leaving it cleans up."""

    def __init__(self, say):
        self.say = say
        self.processes = Processes()
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        self.api = None

    def __enter__(self):
        try:
            self._start_emulator()
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
        """One more process of the function, for the stage of this entry."""
        return function.start(self.processes, entry, self.endpoint, **settings)

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

    def patch(self, stage=STAGE, **paths):
        """Changes the stage behind the function's back: `deploymentId="x"`, `variables__release="2"`."""
        operations = [
            {"op": "replace", "path": "/" + path.replace("__", "/"), "value": value}
            for path, value in paths.items()
        ]
        self.client("apigateway").update_stage(
            restApiId=self.api, stageName=stage, patchOperations=operations)

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
        return self.function.invoke(event)

    def command(self, name, **arguments):
        return self.function.command(name, **arguments)

    def parameter(self, api, stage, what):
        """The function's name of a parameter of a stage."""
        return f"/apigw-rollback/stages/{api}/{stage.replace('$', '_24')}/{what}"

    def record(self, api, stage):
        """What the function recorded as known-good."""
        found = self.client("ssm").get_parameter(Name=self.parameter(api, stage, "known-good"))
        return json.loads(found["Parameter"]["Value"])

    def write(self, api, stage, what, value):
        """Puts a parameter in the place of what there is, with no older versions left."""
        store, name = self.client("ssm"), self.parameter(api, stage, what)
        with contextlib.suppress(store.exceptions.ParameterNotFound):
            store.delete_parameter(Name=name)
        store.put_parameter(Name=name, Value=json.dumps(value), Type="String")

    def _make_api(self):
        gateway = self.client("apigateway")
        # The id that the documents' commands have.
        self.api = gateway.create_rest_api(name=API_NAME, tags={"_custom_id_": API})["id"]
        self.root = gateway.get_resources(restApiId=self.api)["items"][0]["id"]
        self.good = self.release(200)
        gateway.create_stage(
            restApiId=self.api, stageName=STAGE, deploymentId=self.good, variables={"release": "1"})

    def _start_emulator(self):
        host, port = "127.0.0.1", self.endpoint.rsplit(":", 1)[1]
        command = [TOOLS / "localemu" / "bin" / "localemu", "start", "--host", host, "--port", port]
        # LocalEmu calls itself, and an endpoint in its environment leads it astray.
        own = {key: value for key, value in clean_environment("").items() if not key.startswith("AWS_")}
        self.processes.start("localemu", command, dict(own, TMPDIR=str(self.processes.work)))
        self.processes.wait("localemu", f"{self.endpoint}/_localemu/health")
        self.say(f"LocalEmu listens on {self.endpoint}")
