"""The questions about API Gateway: what one call may change, what a refusal leaves, what protects a deployment, and when a
change is seen."""

import json
import time
import urllib.error
import urllib.request

STAGE = "prod"
UNKNOWN = "aaaaaa"


def replace(path, value):
    return {"op": "replace", "path": path, "value": value}


def remove(path):
    return {"op": "remove", "path": path}


class Rest:
    """A REST API of one mock method, whose body names the release."""

    def __init__(self, sandbox, name, address):
        self.box, self.ask, self.do = sandbox, sandbox.recorder.ask, sandbox.recorder.do
        self.address = address
        api = self.do("apigateway", "CreateRestApi", name=f"{sandbox.name}-{name}")
        self.api, self.name = api["id"], api["name"]
        sandbox.undo_by("apigateway", "DeleteRestApi", restApiId=self.api)
        sandbox.recorder.hide(self.api, "<rest-api-id>")
        root = api.get("rootResourceId") or self.do("apigateway", "GetResources", restApiId=self.api)["items"][0]["id"]
        self.method = {"restApiId": self.api, "resourceId": root, "httpMethod": "GET"}
        self.do("apigateway", "PutMethod", authorizationType="NONE", **self.method)
        self.do("apigateway", "PutIntegration", type="MOCK",
                requestTemplates={"application/json": '{"statusCode": 200}'}, **self.method)
        self.do("apigateway", "PutMethodResponse", statusCode="200", **self.method)

    def deploy(self, body, **more):
        """Makes a deployment whose answers have this body."""
        self.do("apigateway", "PutIntegrationResponse", statusCode="200",
                responseTemplates={"application/json": json.dumps({"release": body})}, **self.method)
        made = self.do("apigateway", "CreateDeployment", restApiId=self.api, **more)["id"]
        self.box.recorder.hide(made, f"<deployment-id:{body}>")
        return made

    def update(self, *operations, file=None, note=None, stage=STAGE):
        return self.ask("apigateway", "UpdateStage", file=file, note=note, restApiId=self.api, stageName=stage,
                        patchOperations=list(operations))

    def stage(self, file=None):
        answer, _ = self.ask("apigateway", "GetStage", file=file, restApiId=self.api, stageName=STAGE)
        return {key: value for key, value in (answer or {}).items() if key not in ("ResponseMetadata",)}

    def request(self, path=""):
        """Returns the status and the release that answered; no status if nobody did."""
        url = self.address.format(api=self.api, stage=STAGE, region=self.box.recorder.region) + path
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
                return answer.status, json.loads(answer.read()).get("release")
        except urllib.error.HTTPError as error:
            return error.code, None
        except (OSError, ValueError):
            return None, None

    def canary(self, deployment, percent="50"):
        return self.update(replace("/canarySettings/percentTraffic", percent),
                           replace("/canarySettings/deploymentId", deployment))


def one_call(rest, one, two):
    """Can one call remove the canary and change the deployment?"""
    rest.canary(two)
    before = rest.stage()
    _, error = rest.update(remove("/canarySettings"), replace("/deploymentId", two),
                           file="canary-and-deployment-in-one-call", note=f"before: {before.get('canarySettings')}")
    after = rest.stage("after-canary-and-deployment-in-one-call")
    done = error is None and "canarySettings" not in after and after.get("deploymentId") == two
    _, twice = rest.update(replace("/deploymentId", one))
    if error is not None:
        rest.update(remove("/canarySettings"))
        rest.update(replace("/deploymentId", one))
    return ("yes" if done else f"no: {error or 'accepted, but not done'}") + ("" if twice is None else f"; then {twice}")


def refused_patch(rest, one):
    """Does a refused patch leave nothing behind?"""
    before = rest.stage()
    _, error = rest.update(replace("/variables/left", "behind"), replace("/deploymentId", UNKNOWN),
                           file="refused-patch", note="a good operation before one that must be refused")
    after = rest.stage("after-refused-patch")
    if error is None:
        rest.update(replace("/deploymentId", one), remove("/variables/left"))
        return "not refused: an unknown deployment is accepted"
    left = {key: after.get(key) for key in after if key != "lastUpdatedDate" and after.get(key) != before.get(key)}
    if left:
        rest.update(remove("/variables/left"))
    return "nothing is left" if not left else f"left: {sorted(left)}"


def unknown_deployment(rest, one):
    """What does API Gateway answer for an unknown deployment?"""
    _, error = rest.update(replace("/deploymentId", UNKNOWN), file="unknown-deployment")
    if error is None:
        rest.update(replace("/deploymentId", one))
    rest.ask("apigateway", "GetDeployment", file="unknown", restApiId=rest.api, deploymentId=UNKNOWN)
    return "accepted" if error is None else str(error)


def absent(rest):
    """Is the removal of an absent canary or variable refused?"""
    _, canary = rest.update(remove("/canarySettings"), file="remove-absent-canary")
    _, variable = rest.update(remove("/variables/never"), file="remove-absent-variable")
    return f"canary: {canary or 'accepted'}; variable: {variable or 'accepted'}"


def long_patch(rest):
    """Where is the limit of a patch?"""
    passed = 0
    for number in (80, 100, 128, 200):
        operations = [replace(f"/variables/v{nth}", "1") for nth in range(number)]
        _, error = rest.update(*operations, file=f"patch-of-{number}")
        if error is not None:
            break
        passed = number
    for begin in range(0, passed, 60):
        rest.update(*[remove(f"/variables/v{nth}") for nth in range(begin, min(passed, begin + 60))])
    return f"{passed} operations pass" + ("" if passed == 200 else f", {number} do not")


def canary_protects(rest, two):
    """Does a canary keep its deployment from being deleted?"""
    rest.canary(two)
    _, error = rest.ask("apigateway", "DeleteDeployment", file="of-a-canary", restApiId=rest.api, deploymentId=two)
    rest.update(remove("/canarySettings"))
    return "no: it is deleted" if error is None else f"yes: {error}"


def propagation(rest, one, two):
    """How soon does the change reach all servers?"""
    first, took = rest.box.until(lambda: rest.request()[1] == "one", 60, every=0.3)
    if not first:
        return f"not seen: the release before it did not answer within {took} s"
    began = time.monotonic()
    rest.update(replace("/deploymentId", two))
    changed, seen = time.monotonic(), []
    while time.monotonic() - changed < 30 and rest.box.left() > 0:
        seen.append((round(time.monotonic() - changed, 2), rest.request()[1]))
        rest.box.wait(0.1)
    rest.update(replace("/deploymentId", one))
    new = [at for at, release in seen if release == "two"]
    old = [at for at, release in seen if release == "one"]
    rest.box.recorder.measured("propagation", call_took=round(changed - began, 2), answers=len(seen),
                               first_new=min(new, default=None), last_old=max(old, default=None))
    if not new:
        return f"the new release did not answer within 30 s ({len(seen)} answers)"
    return f"first new answer after {min(new)} s, last old one after {max(old, default=0)} s"


class Http:
    """An HTTP API of one route, which nobody calls."""

    def __init__(self, sandbox, name):
        self.box, self.ask, self.do = sandbox, sandbox.recorder.ask, sandbox.recorder.do
        self.api = self.do("apigatewayv2", "CreateApi", Name=f"{sandbox.name}-{name}", ProtocolType="HTTP")["ApiId"]
        sandbox.undo_by("apigatewayv2", "DeleteApi", ApiId=self.api)
        sandbox.recorder.hide(self.api, "<http-api-id>")
        made = self.do("apigatewayv2", "CreateIntegration", ApiId=self.api, IntegrationType="HTTP_PROXY",
                       IntegrationMethod="GET", IntegrationUri="https://example.com/", PayloadFormatVersion="1.0")
        self.do("apigatewayv2", "CreateRoute", ApiId=self.api, RouteKey="GET /",
                Target=f"integrations/{made['IntegrationId']}")

    def deploy(self, number):
        made = self.do("apigatewayv2", "CreateDeployment", ApiId=self.api)["DeploymentId"]
        self.box.recorder.hide(made, f"<deployment-id:{number}>")
        return made

    def update(self, file=None, note=None, **values):
        return self.ask("apigatewayv2", "UpdateStage", file=file, note=note, ApiId=self.api, StageName=STAGE, **values)

    def stage(self, file=None):
        return self.ask("apigatewayv2", "GetStage", file=file, ApiId=self.api, StageName=STAGE)[0] or {}


def http_questions(sandbox):
    """Answers the questions about HTTP stages, one after the other."""
    http = Http(sandbox, "http")
    one, two = http.deploy("one"), http.deploy("two")
    http.do("apigatewayv2", "CreateStage", ApiId=http.api, StageName=STAGE, DeploymentId=one,
            StageVariables={"kept": "1"})
    answers = {}
    http.update(StageVariables={"new": "1"}, file="other-variables")
    kept = "kept" in http.stage("after-other-variables").get("StageVariables", {})
    answers["Are the variables of an HTTP stage merged or replaced?"] = "merged" if kept else "replaced"
    _, error = http.ask("apigatewayv2", "DeleteDeployment", file="of-a-stage", ApiId=http.api, DeploymentId=one)
    answers["Does a stage keep an HTTP deployment from being deleted?"] = (
        "no: it is deleted" if error is None else f"yes: {error}")
    http.update(AutoDeploy=True)
    http.box.wait(5)
    _, error = http.update(AutoDeploy=False, DeploymentId=two, file="autodeploy-off-and-deployment-in-one-call")
    after = http.stage("after-autodeploy-off-and-deployment-in-one-call")
    done = error is None and after.get("DeploymentId") == two and not after.get("AutoDeploy")
    answers["Can one call switch AutoDeploy off and change the deployment?"] = (
        "yes" if done else f"no: {error or 'accepted, but not done'}")
    return answers


def rest_questions(sandbox, address):
    """Answers the questions about REST stages, one after the other."""
    rest = Rest(sandbox, "rest", address)
    one = rest.deploy("one")
    rest.do("apigateway", "CreateStage", restApiId=rest.api, stageName=STAGE, deploymentId=one)
    two = rest.deploy("two")
    return {
        "Can one call remove the canary and change the deployment?": one_call(rest, one, two),
        "Does a refused patch leave nothing behind?": refused_patch(rest, one),
        "What does API Gateway answer for an unknown deployment?": unknown_deployment(rest, one),
        "Is the removal of an absent canary or variable refused?": absent(rest),
        "Where is the limit of a patch?": long_patch(rest),
        "How soon does the change reach all servers?": propagation(rest, one, two),
        "Does a canary keep its deployment from being deleted?": canary_protects(rest, two),
    }
