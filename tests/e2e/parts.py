"""The parts of a release on an emulator: frozen deployments of a REST API, and Lambda functions with two versions and an alias."""

import contextlib
import io
import json
import time
import zipfile

from botocore.exceptions import ClientError

# Version 1 answers every call with 200, version 2 with 500.
CODE = "def handler(event, context):\n    return {'statusCode': %d, 'body': 'code'}\n"
TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}


def frozen(gateway, api, status, **templates):
    """Makes a REST API answer `GET /` with this status and these response templates. Returns a deployment that freezes it."""
    [root] = [each for each in gateway.get_resources(restApiId=api)["items"] if each["path"] == "/"]
    method = {"restApiId": api, "resourceId": root["id"], "httpMethod": "GET"}
    with contextlib.suppress(gateway.exceptions.NotFoundException):
        gateway.delete_method(**method)
    gateway.put_method(**method, authorizationType="NONE")
    gateway.put_method_response(**method, statusCode=str(status))
    request = json.dumps({"statusCode": status})
    gateway.put_integration(**method, type="MOCK", requestTemplates={"application/json": request})
    gateway.put_integration_response(**method, statusCode=str(status), selectionPattern="", responseTemplates=templates)
    return gateway.create_deployment(restApiId=api)["id"]


def function_of_two_versions(client, name, alias):
    """Makes versions 1 and 2, and an alias that points at 1. `client` makes clients. Returns the alias's ARN."""
    functions = client("lambda")
    role = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    functions.create_function(
        FunctionName=name, Runtime="python3.13", Role=role, Handler="index.handler", Code={"ZipFile": zipped(200)})
    wait_until_ready(functions, name)
    functions.publish_version(FunctionName=name)
    # LocalEmu accepts the code, and then fails because it cannot run it without Docker.
    with contextlib.suppress(ClientError):
        functions.update_function_code(FunctionName=name, ZipFile=zipped(500))
    wait_until_ready(functions, name)
    functions.publish_version(FunctionName=name)
    return functions.create_alias(FunctionName=name, Name=alias, FunctionVersion="1")["AliasArn"]


def wait_until_ready(functions, name):
    """Waits until the function is ready. LocalEmu ends in `Failed`, but its aliases work nevertheless."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        now = functions.get_function_configuration(FunctionName=name)
        changing = "InProgress" == now.get("LastUpdateStatus")
        if now["State"] == "Failed" or (now["State"] == "Active" and not changing):
            return
        time.sleep(0.2)


def a_later_second():
    """Waits, because the times of stages are whole seconds: the next change must be visibly later than the last."""
    time.sleep(1.1)


def target_of(functions, name, alias):
    """Returns the version that an alias points at, and its traffic weights for other versions."""
    now = functions.get_alias(FunctionName=name, Name=alias)
    return now["FunctionVersion"], now.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})


def zipped(status):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", CODE % status)
    return packed.getvalue()
