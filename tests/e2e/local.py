"""Runs the function on this machine with the environment that SAM CLI resolves for the template.

`sam local invoke` gives a resource's logical id for its ARN, and parameters their defaults. The function must start with
such settings. First it runs under the Runtime Interface Emulator that SAM CLI brings, then, where Docker runs, with `sam
local invoke` itself. AWS is not reachable, so a call to AWS fails; the function must say which.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.commands.local.lib.local_lambda import LocalLambdaRunner

ROOT = Path(__file__).resolve().parent.parent.parent
TEMPLATE = ROOT / "template.yaml"
BUILT = ROOT / ".aws-sam" / "build" / "template.yaml"
FUNCTION = ROOT / "target" / "debug" / "apigw-rollback-function"
RESOURCE = "RollbackFunction"
IMAGE = "public.ecr.aws/lambda/provided:al2023"
OVERRIDES = {"ApiId": "a1b2c3d4e5", "ApiName": "orders-api", "StageName": "prod"}
PATIENCE = 90

# The account that the Runtime Interface Emulator gives the function.
ACCOUNT = "012345678912"

# The event, and what the answer must contain: no call to AWS is needed, or this one fails.
EVENTS = [
    ("hello.json", "not-an-alarm"),
    ("sns-alarm.json", "failed"),
    ("command-status.json", "failed"),
]


def event(name):
    """Returns an event as JSON. An alarm is one of now, and of the function's own account."""
    text = (ROOT / "events" / name).read_text().replace("123456789012", ACCOUNT)
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())
    return re.sub(r"(StateChangeTime[^:]*:[^0-9]*)[0-9T:.+-]+", lambda match: match.group(1) + now, text)


def environment(overrides):
    """Returns the environment of the function as SAM CLI resolves it."""
    stacks, _ = SamLocalStackProvider.get_stacks(str(TEMPLATE), parameter_overrides=overrides)
    function = SamFunctionProvider(stacks).get(RESOURCE)
    runner = LocalLambdaRunner(None, None, cwd=str(ROOT), real_path=str(ROOT), aws_region="eu-west-1")
    return {name: str(value) for name, value in runner._make_env_vars(function).resolve().items()}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def emulated(settings):
    """Starts the function under the Runtime Interface Emulator. Yields its address."""
    import samcli

    emulator = Path(samcli.__file__).parent / "local" / "rapid" / "aws-lambda-rie-x86_64"
    port, nobody = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "aws-lambda-rie"
        shutil.copy(emulator, copy)
        copy.chmod(0o755)
        variables = {
            **settings, "PATH": os.environ["PATH"], "_HANDLER": "bootstrap",
            # Nobody listens there, so a call to AWS fails at once.
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{nobody}",
            "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
        }
        with open(Path(folder) / "log", "w+") as log:
            process = subprocess.Popen(
                [copy, "--runtime-interface-emulator-address", f"127.0.0.1:{port}",
                 "--runtime-api-address", f"127.0.0.1:{free_port()}", FUNCTION],
                env=variables, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
            try:
                yield port, log
            finally:
                process.terminate()
                process.wait(10)


def invoke(port, event, log):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations", data=event, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(50):
        try:
            with opener.open(request, timeout=PATIENCE) as answer:
                return answer.read().decode()
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.1)
    log.seek(0)
    raise SystemExit(f"error: the function did not start:\n{log.read()}")


def is_right(answer, expected):
    """Whether an answer is a report with this word, or the error of a failed run that names a call to AWS."""
    value = json.loads(answer)
    if expected == "failed":
        return "failed: " in value.get("errorMessage", value.get("message", ""))
    return expected in json.dumps(value)


def under_the_emulator():
    wrong = 0
    for overrides in ({}, OVERRIDES):
        settings = environment(overrides)
        with emulated(settings) as (port, log):
            for name, expected in EVENTS:
                answer = invoke(port, event(name).encode(), log)
                ok = is_right(answer, expected)
                wrong += not ok
                print(f"{'ok     ' if ok else 'FAILED '} {'with' if overrides else 'without'} overrides, {name}: {answer[:300]}")
    return wrong


def docker_is_missing():
    if not shutil.which("docker"):
        return "Docker is not installed"
    if subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        return "Docker is installed, but its engine does not run"
    return None


def with_docker():
    sam = Path(sys.executable).parent / "sam"
    has_image = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode == 0
    wrong = 0
    for name, expected in EVENTS:
        command = [sam, "local", "invoke", RESOURCE, "--template", BUILT, "--event", "-",
                   "--parameter-overrides", *(f"{key}={value}" for key, value in OVERRIDES.items())]
        # An image that is there need not be pulled again.
        command += ["--skip-pull-image"] if has_image else []
        done = subprocess.run(
            command, input=event(name), capture_output=True, text=True, cwd=ROOT,
            env={**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "eu-west-1",
                 "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"})
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        answer = lines[-1] if lines else "{}"
        ok = done.returncode == 0 and is_right(answer, expected)
        wrong += not ok
        print(f"{'ok     ' if ok else 'FAILED '} sam local invoke, {name}: {answer[:300]}")
        if not ok:
            print(done.stderr[-2000:])
    return wrong


def main():
    wrong = under_the_emulator()
    missing = docker_is_missing()
    if missing:
        print(f"skipped sam local invoke: {missing}")
    else:
        wrong += with_docker()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
