"""The calls to AWS in IAM's terms: the requests that the wire tests recorded, and the calls that AWS makes on the
function's behalf.
"""

import json
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from stack import ACCOUNT, NAME, REGION, ROOT

# IAM's action for each method and path.
LAMBDA = [
    ("GET", r".*/functions/([^/]+)/aliases/[^/]+", "lambda:GetAlias"),
    ("PUT", r".*/functions/([^/]+)/aliases/[^/]+", "lambda:UpdateAlias"),
    ("GET", r".*/functions/([^/]+)/configuration", "lambda:GetFunctionConfiguration"),
    ("GET", r".*/functions/([^/]+)/policy", "lambda:GetPolicy"),
    ("POST", r".*/functions/([^/]+)/invocations", "lambda:InvokeFunction"),
]
CONTEXT = {"aws:RequestedRegion": REGION, "events:source": NAME}


@dataclass(frozen=True)
class Call:
    """One call. IAM may see the resource in any of these forms, so a policy must allow each of them."""

    verb: str
    operation: str
    action: str
    resources: tuple
    context: tuple = tuple(CONTEXT.items())


def arn(service, rest):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


def of_api_gateway(method, path):
    path = path.removeprefix("/v2")
    # The only calls of API Gateway whose IAM action is not the method; the ARN has the account.
    if method == "GET" and path.endswith("/routingrules"):
        return "apigateway:ListRoutingRules", {arn("apigateway", f"{path}/*")}
    # AWS does not document whether IAM sees the path encoded.
    return f"apigateway:{method}", {f"arn:aws:apigateway:{REGION}::{form}" for form in (path, unquote(path))}


def of_lambda(method, path):
    for wanted, pattern, action in LAMBDA:
        match = re.fullmatch(pattern, unquote(path))
        if wanted == method and match:
            name = match.group(1).removeprefix(arn("lambda", "function:"))
            # A request for a version has the function's name and a qualifier.
            forms = {name, f"{name}:1"} if action == "lambda:GetFunctionConfiguration" else {name}
            return action, {arn("lambda", f"function:{form}") for form in forms}
    raise KeyError(f"{method} {path}: add its IAM action to calls.py")


def of_request(request):
    service, call, on = request["service"], request["call"], request["on"]
    if service == "apigateway":
        ((action, resources),) = (of_api_gateway(call, path) for path in on)
    elif service == "lambda":
        ((action, resources),) = (of_lambda(call, path) for path in on)
    else:
        where = {
            "ssm": lambda name: arn("ssm", f"parameter{name.split(':')[0]}"),
            "sns": lambda topic: topic,
            "events": lambda bus: arn("events", f"event-bus/{bus}"),
            "monitoring": None,
            "codedeploy": None,
        }[service]
        action = f"{'cloudwatch' if service == 'monitoring' else service}:{call}"
        resources = {where(one) for one in on} if on else {"*"}
    return Call(request["verb"], operation(request["verb"], call, on), action, tuple(sorted(resources)))


# The AWS operation for each verb of the port whose request does not name it.
OPERATIONS = {
    "stage": "GetStage",
    "look": "GetStage",
    "look_at_once": "GetStage",
    "stages": "GetStages",
    "change_stage": "UpdateStage",
    "create_stage": "CreateStage",
    "deployment": "GetDeployment",
    "rest_api": "GetRestApi",
    "v2_api": "GetApi",
    "rest_apis": "GetRestApis",
    "v2_apis": "GetApis",
    "alias": "GetAlias",
    "move_alias": "UpdateAlias",
    "has_version": "GetFunctionConfiguration",
    "function_policy": "GetPolicy",
    "caches_decisions": "GetAuthorizers",
    "invoke": "Invoke",
}


def operation(verb, call, on):
    if verb in ("mapping", "move_mapping"):
        if "basepathmappings" in on[0]:
            return "GetBasePathMapping" if verb == "mapping" else "UpdateBasePathMapping"
        return "GetApiMappings" if verb == "mapping" else "UpdateApiMapping"
    if verb == "routing":
        return "ListRoutingRules" if on[0].endswith("/routingrules") else "GetDomainName"
    if verb == "flush":
        return "FlushStageCache" if on[0].endswith("/data") else "FlushStageAuthorizersCache"
    return OPERATIONS.get(verb, call)


def tagging(create, stage):
    """Returns what CreateStage with tags needs besides its own permission. IAM sees the new stage's ARN as a segment."""
    made = quote(f"arn:aws:apigateway:{REGION}::{create.resources[0].split('::')[1]}/{stage}", safe="")
    tags = (f"arn:aws:apigateway:{REGION}::/tags/{made}",)
    return [
        Call(create.verb, create.operation, "apigateway:TagResource", create.resources),
        Call(create.verb, create.operation, "apigateway:PUT", tags),
    ]


def recorded():
    """Returns the requests by stage and feature, and the permissions that the doctor asks IAM about by stage."""
    requests = json.loads((ROOT / "tests/template/requests.json").read_text())
    doctor = {place: features.pop("doctor") for place, features in requests.items() if "doctor" in features}
    return {
        place: {feature: [of_request(one) for one in some] for feature, some in features.items()}
        for place, features in requests.items()
    }, {place: [(one["action"], one["on"]) for one in some] for place, some in doctor.items()}


def _by_aws(action, resource, **context):
    return Call("", "–", action, (resource,), tuple((CONTEXT | context).items()))


LOG = f"log-group:/aws/lambda/{NAME}:log-stream:2026/11/20/x"
KEY = arn("kms", "key/own")
# The calls of Lambda with the function's role, and of SQS and SNS for a sender.
ALWAYS_BY_AWS = [
    _by_aws("logs:CreateLogStream", arn("logs", LOG)),
    _by_aws("logs:PutLogEvents", arn("logs", LOG)),
    _by_aws("xray:PutTraceSegments", "*"),
    _by_aws("xray:PutTelemetryRecords", "*"),
    _by_aws("sqs:SendMessage", arn("sqs", f"{NAME}-DeadLetterQueue-X1")),
]
ENCRYPTING = {
    service: [
        _by_aws(action, KEY, **{"kms:ViaService": f"{service}.{REGION}.amazonaws.com"})
        for action in ("kms:GenerateDataKey", "kms:Decrypt")
    ]
    for service in ("sqs", "sns")
}
