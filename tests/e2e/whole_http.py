"""HTTP and WebSocket releases: the stage, a Lambda alias and the mapping of a custom domain.

LocalEmu has no UpdateStage for these APIs, so MiniStack stands in for `apigatewayv2` and Lambda; records
stay in LocalEmu. MiniStack serves HTTP APIs live, not by frozen deployments: what is seen by requests is the
stage's variables and the code behind the alias; of the deployment only that the stage names it.
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
PART = f"{FUNCTION}:{ALIAS}"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def play(emulator, checks):
    why_not_localemu(emulator, checks)
    with backend() as url:
        api = HttpApi(emulator, url)
        comes_back_whole(api, checks)
        an_alarm(api, checks)
        auto_deploy(api, checks)
        a_deployment_that_is_gone(api, checks)
        websocket(api, checks)


def why_not_localemu(emulator, checks):
    gateway = emulator.client("apigatewayv2")
    api = gateway.create_api(Name="none", ProtocolType="HTTP")["ApiId"]
    gateway.create_stage(ApiId=api, StageName="prod")
    try:
        gateway.update_stage(ApiId=api, StageName="prod", Description="changed")
        checks.say("        LocalEmu can change HTTP stages now: these tests can move to it")
    except ClientError as refused:
        checks.say(f"        LocalEmu 1.3.2 cannot change HTTP stages ({refused.response['Error']['Message']}): "
                   "MiniStack stands in")


@contextlib.contextmanager
def backend():
    """A web server that only knows release 1. Gives its address."""

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
    """An HTTP API on MiniStack. One route shows the stage's variable, the other the code behind the alias."""

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
            {"api": self.api, "name": "web", "stage": STAGE, "protocol": "http", "aliases": [PART],
             "mappings": [DOMAIN]})

    def client(self, service):
        return client(self.endpoint, service)

    def start_function(self, entry):
        return self.emulator.start_function(
            entry, AWS_ENDPOINT_URL_APIGATEWAYV2=self.endpoint, AWS_ENDPOINT_URL_LAMBDA=self.endpoint)

    def deployment(self):
        return self.gateway.create_deployment(ApiId=self.api)["DeploymentId"]

    def break_all(self, **more):
        """Release 2 goes out in all its parts."""
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
        # MiniStack keeps a removed variable as an empty one.
        variables = {name: value for name, value in stage["StageVariables"].items() if value}
        [mapping] = self.gateway.get_api_mappings(DomainName=DOMAIN)["Items"]
        return {
            "alias": target_of(self.functions, FUNCTION, ALIAS),
            "stage": (stage["DeploymentId"], variables),
            "mapping": (mapping["ApiId"], mapping["Stage"]),
        }

    def request(self):
        """One request of a user to each route: the worse HTTP status."""
        return max(self._status("variable"), self._status("code"))

    def _status(self, path):
        # MiniStack looks for the API in the account of the request.
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


def comes_back_whole(api, checks):
    good = api.now()
    checks.equal("release 1 of the HTTP API serves", api.request(), 200)
    recorded = api.function.command("record", label="v1")
    checks.that("it is recorded", recorded.get("outcome") == "recorded", recorded)
    parked = api.stage(PARKED)
    limits = parked["DefaultRouteSettings"]
    checks.equal("a parked stage holds its deployment, and is closed",
                 (parked["DeploymentId"], limits["ThrottlingRateLimit"], limits["ThrottlingBurstLimit"]),
                 (api.good, 0, 0))
    api.break_all()
    bad = api.now()
    checks.equal("release 2 fails", api.request(), 500)
    plan = api.function.command("plan")
    checks.equal("a plan touches no part", (plan.get("outcome"), api.now()), ("would-roll-back", bad))
    report = api.function.command("rollback")
    checks.that("a rollback is done", report.get("outcome") == "rolled-back", report)
    checks.equal("stage, alias and API mapping are back", api.now(), good)
    checks.equal("release 1 serves again", api.request(), 200)


def an_alarm(api, checks):
    """Metrics of HTTP APIs have other names, and the API's id in the place of its name."""
    good = api.now()
    api.break_all()
    event = alarm_from_traffic(
        api.emulator, "web-5xx", "5xx", {"ApiId": api.api, "Stage": STAGE}, api.request)
    checks.that("an alarm on the HTTP stage comes through SNS", event is not None, "none in 120 s")
    if event:
        reports = api.function.invoke(event).get("reports", [])
        checks.equal("the function takes the release off",
                     [report["outcome"] for report in reports], ["rolled-back"])
        checks.equal("all three parts are back", api.now(), good)


def auto_deploy(api, checks):
    """AWS refuses a deployment on such a stage; the function does not try unless the policy says so."""
    good = api.now()
    api.break_all(AutoDeploy=True)
    bad = api.now()
    report = api.function.command("rollback")
    checks.equal("a stage with AutoDeploy is held, with nothing touched",
                 (report.get("reason"), api.now(), api.stage()["AutoDeploy"]), ("auto-deploy", bad, True))
    api.emulator.write(api.api, STAGE, "policy", {"schema": 1, "auto_deploy": "switch-off"})
    report = api.function.command("rollback")
    checks.equal("the policy lets AutoDeploy be switched off",
                 (report.get("outcome"), api.now(), api.stage()["AutoDeploy"]), ("rolled-back", good, False))
    checks.that("  which the report says", "AutoDeploy" in str(report), report)


def a_deployment_that_is_gone(api, checks):
    record = api.emulator.record(api.api, STAGE)
    gone = {**record, "release": {**record["release"], "deployment": "gone"}}
    api.emulator.write(api.api, STAGE, "known-good", gone)
    api.break_all()
    bad = api.now()
    report = api.function.command("rollback")
    checks.equal("a deleted deployment is held, with nothing touched",
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
    checks.equal("and comes back",
                 (report.get("outcome"), stage["DeploymentId"], stage["StageVariables"]),
                 ("rolled-back", good, {"release": "1"}))
    checks.say("        no message is sent: neither emulator serves WebSocket APIs from deployments")
