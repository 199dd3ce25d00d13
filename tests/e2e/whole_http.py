"""HTTP and WebSocket releases: the stage, a Lambda alias and the mapping of a custom domain.

LocalEmu has no UpdateStage for these APIs, so MiniStack replaces it for `apigatewayv2` and Lambda; records stay
in LocalEmu. MiniStack serves HTTP APIs live, not from frozen deployments. So requests show only the stage's
variables and the code behind the alias; for the deployment, the test reads the stage.
"""

import contextlib
import http.server
import threading
import urllib.error
import urllib.request

from botocore.exceptions import ClientError

from alarms import alarm_from_traffic
from function import ACCOUNT
from localemu import client
from parts import a_later_second, function_of_two_versions, target_of
from stack import REGION, TOOLS, clean_environment, free_port

STAGE, NEXT, PARKED = "$default", "next", "_default-known-good"
FUNCTION, ALIAS, DOMAIN = "web", "live", "web.example.com"
LISTED_ALIAS = f"{FUNCTION}:{ALIAS}"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def play(emulator, checks):
    why_not_localemu(emulator, checks)
    with backend() as url:
        api = HttpApi(emulator, url)
        roll_back_the_whole_release(api, checks)
        an_alarm(api, checks)
        auto_deploy(api, checks)
        deleted_deployment(api, checks)
        websocket(api, checks)


def why_not_localemu(emulator, checks):
    gateway = emulator.client("apigatewayv2")
    api = gateway.create_api(Name="none", ProtocolType="HTTP")["ApiId"]
    gateway.create_stage(ApiId=api, StageName="prod")
    try:
        gateway.update_stage(ApiId=api, StageName="prod", Description="changed")
        checks.say("        LocalEmu can change HTTP stages now: move these tests to it")
    except ClientError as refused:
        checks.say(f"        LocalEmu 1.3.2 cannot change HTTP stages ({refused.response['Error']['Message']}): "
                   "MiniStack replaces it")


@contextlib.contextmanager
def backend():
    """Runs a web server that accepts only release 1. Yields its address."""

    class OnlyRelease1(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.headers.get("release") == "1" else 500)
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OnlyRelease1)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class HttpApi:
    """An HTTP API on MiniStack. One route uses the stage's variable, the other the code behind the alias."""

    def __init__(self, emulator, backend_url):
        self.emulator = emulator
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        self._start_ministack()
        self.gateway, self.functions = self.client("apigatewayv2"), self.client("lambda")
        code = function_of_two_versions(self.client, FUNCTION, ALIAS)
        self.api = self.gateway.create_api(Name="web", ProtocolType="HTTP")["ApiId"]
        self._route("/variable", IntegrationType="HTTP_PROXY", IntegrationMethod="GET",
                    IntegrationUri=backend_url, PayloadFormatVersion="1.0",
                    RequestParameters={"overwrite:header.release": "$stageVariables.release"})
        self._route("/code", IntegrationType="AWS_PROXY", IntegrationUri=code, PayloadFormatVersion="2.0")
        self.good = self.deployment()
        for stage in (STAGE, NEXT):
            self.gateway.create_stage(
                ApiId=self.api, StageName=stage, DeploymentId=self.good, StageVariables={"release": "1"})
        self.gateway.create_domain_name(DomainName=DOMAIN, DomainNameConfigurations=[
            {"EndpointType": "REGIONAL", "CertificateArn": "arn:aws:acm:us-east-1:012345678912:certificate/none"}])
        self.mapping = self.gateway.create_api_mapping(
            DomainName=DOMAIN, ApiId=self.api, Stage=STAGE)["ApiMappingId"]
        self.function = self.start_function(
            {"api": self.api, "name": "web", "stage": STAGE, "protocol": "http", "aliases": [LISTED_ALIAS],
             "mappings": [DOMAIN]})

    def client(self, service):
        return client(self.endpoint, service)

    def start_function(self, entry):
        return self.emulator.start_function(
            entry, AWS_ENDPOINT_URL_APIGATEWAYV2=self.endpoint, AWS_ENDPOINT_URL_LAMBDA=self.endpoint)

    def deployment(self):
        return self.gateway.create_deployment(ApiId=self.api)["DeploymentId"]

    def break_all(self, **more):
        """Deploys release 2 with all its components."""
        a_later_second()
        bad = self.deployment()
        self.gateway.update_stage(
            ApiId=self.api, StageName=STAGE, DeploymentId=bad, StageVariables={"release": "2", "extra": "x"}, **more)
        self.functions.update_alias(FunctionName=FUNCTION, Name=ALIAS, FunctionVersion="2")
        self.gateway.update_api_mapping(
            DomainName=DOMAIN, ApiId=self.api, ApiMappingId=self.mapping, Stage=NEXT)

    def stage(self, name=STAGE):
        return self.gateway.get_stage(ApiId=self.api, StageName=name)

    def now(self):
        stage = self.stage()
        # MiniStack keeps a removed variable as an empty string.
        variables = {name: value for name, value in stage["StageVariables"].items() if value}
        [mapping] = self.gateway.get_api_mappings(DomainName=DOMAIN)["Items"]
        return {
            "alias": target_of(self.functions, FUNCTION, ALIAS),
            "stage": (stage["DeploymentId"], variables),
            "mapping": (mapping["ApiId"], mapping["Stage"]),
        }

    def request(self):
        """Sends one request to each route and returns the worse HTTP status."""
        return max(self._status("variable"), self._status("code"))

    def _status(self, path):
        # MiniStack looks the API up in the account of the request.
        credential = f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20261120/{REGION}/execute-api/aws4_request"
        request = urllib.request.Request(
            f"{self.endpoint}/_aws/execute-api/{self.api}/{STAGE}/{path}",
            headers={"Authorization": f"{credential}, SignedHeaders=host, Signature=none"})
        try:
            with _DIRECT.open(request, timeout=15) as answer:
                return answer.status
        except urllib.error.HTTPError as refusal:
            return refusal.code

    def _route(self, path, **integration):
        made = self.gateway.create_integration(ApiId=self.api, **integration)["IntegrationId"]
        self.gateway.create_route(ApiId=self.api, RouteKey=f"GET {path}", Target=f"integrations/{made}")

    def _start_ministack(self):
        processes = self.emulator.processes
        env = dict(clean_environment(self.endpoint), BIND_HOST="127.0.0.1", MINISTACK_REGION=REGION,
                   GATEWAY_PORT=self.endpoint.rsplit(":", 1)[1], TMPDIR=str(processes.work))
        processes.start("ministack", [TOOLS / "emulator" / "bin" / "ministack"], env)
        processes.wait("ministack", f"{self.endpoint}/_ministack/health")
        self.emulator.say(f"MiniStack listens on {self.endpoint}")


def roll_back_the_whole_release(api, checks):
    good = api.now()
    checks.equal("release 1 of the HTTP API serves", api.request(), 200)
    recorded = api.function.command("record", label="v1")
    checks.that("release 1 is recorded", recorded.get("outcome") == "recorded", recorded)
    parked = api.stage(PARKED)
    limits = parked["DefaultRouteSettings"]
    checks.equal("a parked stage keeps its deployment and allows no requests",
                 (parked["DeploymentId"], limits["ThrottlingRateLimit"], limits["ThrottlingBurstLimit"]),
                 (api.good, 0, 0))
    api.break_all()
    bad = api.now()
    checks.equal("release 2 fails", api.request(), 500)
    plan = api.function.command("plan")
    checks.equal("a plan changes no component", (plan.get("outcome"), api.now()), ("would-roll-back", bad))
    report = api.function.command("rollback")
    checks.that("a rollback command rolls the stage back", report.get("outcome") == "rolled-back", report)
    checks.equal("the rollback restores the stage, the alias and the API mapping", api.now(), good)
    checks.equal("release 1 serves again", api.request(), 200)


def an_alarm(api, checks):
    """Metrics of HTTP APIs have different names, and a dimension with the API's id instead of its name."""
    good = api.now()
    api.break_all()
    event = alarm_from_traffic(
        api.emulator, "web-5xx", "5xx", {"ApiId": api.api, "Stage": STAGE}, api.request)
    checks.that("the message of an alarm on the HTTP stage arrives through SNS", event is not None, "none in 120 s")
    if event:
        reports = api.function.invoke(event).get("reports", [])
        checks.equal("the function rolls the stage back",
                     [report["outcome"] for report in reports], ["rolled-back"])
        checks.equal("the rollback restores all three components", api.now(), good)


def auto_deploy(api, checks):
    """API Gateway refuses a deployment id while AutoDeploy is on; the function holds unless the policy allows more."""
    good = api.now()
    api.break_all(AutoDeploy=True)
    bad = api.now()
    report = api.function.command("rollback")
    checks.equal("a stage with AutoDeploy is held and unchanged",
                 (report.get("reason"), api.now(), api.stage()["AutoDeploy"]), ("auto-deploy", bad, True))
    api.emulator.write(api.api, STAGE, "policy", {"schema": 1, "auto_deploy": "switch-off"})
    report = api.function.command("rollback")
    checks.equal("the policy lets the function switch AutoDeploy off",
                 (report.get("outcome"), api.now(), api.stage()["AutoDeploy"]), ("rolled-back", good, False))
    checks.that("  and the report says so", "AutoDeploy" in str(report), report)


def deleted_deployment(api, checks):
    record = api.emulator.record(api.api, STAGE)
    gone = {**record, "release": {**record["release"], "deployment": "gone"}}
    api.emulator.write(api.api, STAGE, "known-good", gone)
    api.break_all()
    bad = api.now()
    report = api.function.command("rollback")
    checks.equal("a rollback to a deleted deployment is held, and nothing changes",
                 (report.get("reason"), api.now()), ("known-good-missing", bad))


def websocket(api, checks):
    gateway = api.gateway
    chat = gateway.create_api(
        Name="chat", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")["ApiId"]
    good, bad = (gateway.create_deployment(ApiId=chat)["DeploymentId"] for _ in range(2))
    gateway.create_stage(ApiId=chat, StageName="prod", DeploymentId=good, StageVariables={"release": "1"})
    function = api.start_function({"api": chat, "name": "chat", "stage": "prod", "protocol": "websocket"})
    recorded = function.command("record")
    checks.that("a WebSocket release is recorded", recorded.get("outcome") == "recorded", recorded)
    gateway.update_stage(ApiId=chat, StageName="prod", DeploymentId=bad, StageVariables={"release": "2"})
    report = function.command("rollback")
    stage = gateway.get_stage(ApiId=chat, StageName="prod")
    checks.equal("a WebSocket release is rolled back",
                 (report.get("outcome"), stage["DeploymentId"], stage["StageVariables"]),
                 ("rolled-back", good, {"release": "1"}))
    checks.say("        the test sends no message: neither emulator serves WebSocket APIs from deployments")
