"""The emulator and the stack that the demo and the end-to-end test run on.

MiniStack replaces AWS on a free loopback port. It accepts a real `sam deploy` of the real template,
runs the real function as a local process, delivers CloudWatch alarms to it through SNS, and invokes
the sweep on the template's own schedule.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
STACK_NAME = "apigw-rollback-demo"
STAGE_NAME = "prod"
REGION = "us-east-1"
# The source of an event that carries one from another Region.
CARRIER = "another-region"
# Seconds; short, so that one scenario can contain several rollbacks.
COOLDOWN = 5

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StepFailed(Exception):
    """A step failed; the message names the step and says where to look."""


class Timeline:
    """Prints messages with the seconds since the start."""

    def __init__(self):
        self.start = time.monotonic()

    def say(self, text):
        print(f"[{time.monotonic() - self.start:6.1f} s] {text}", flush=True)


def clean_environment(endpoint, region=REGION):
    """Returns this process's environment without anything that leads to a real AWS account."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    env.update(
        AWS_ENDPOINT_URL=endpoint,
        AWS_REGION=region,
        AWS_DEFAULT_REGION=region,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        NO_PROXY="127.0.0.1,localhost",
        no_proxy="127.0.0.1,localhost",
        SAM_CLI_TELEMETRY="0",
    )
    return env


def release():
    """Returns the folder of the release in `DIST`, whose files are complete and unchanged."""
    folder = pathlib.Path(os.environ["DIST"]).expanduser().absolute()
    sums = folder / "SHA256SUMS"
    if not sums.is_file():
        raise StepFailed(f"{folder} has no release: `make dist` builds one into target/dist")
    for line in sums.read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        file = folder / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise StepFailed(f"{file} is missing or differs from SHA256SUMS: get the whole release again")
    return folder


def released_template(folder, architecture):
    """Returns the SAM template of a release for this machine."""
    template = folder / ("template-sam.yaml" if architecture == "x86_64" else f"template-sam-{architecture}.yaml")
    if not template.is_file():
        raise StepFailed(f"the release in {folder} has no code for this machine's architecture, {architecture}")
    return template


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop_group(process):
    """Ends a process that has its own session, with all its children."""
    for signum, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def stop_on_signals():
    """Lets the usual signals end this process only after the clean-up."""

    def interrupted(signum, _frame):
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + signum)

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupted)


class Stack:
    """One emulator with the stack in it, as a context manager that cleans up."""

    def __init__(self, timeline, keep=False, region=REGION):
        self.timeline = timeline
        self.region = region
        self.keep = keep
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="apigw-rollback-"))
        self.template = self.work / "build" / "template.yaml"
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.env = clean_environment(self.endpoint, region)
        # Where the emulator writes the events for other Regions.
        self.forwarded = self.work / "forwarded.jsonl"
        self.emulator = None
        self.outputs = {}

    def __enter__(self):
        try:
            self._start_emulator()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception):
        if self.keep and self.emulator and self.emulator.poll() is None:
            self._print_how_to_look_around()
            return
        if self.emulator:
            stop_group(self.emulator)
        shutil.rmtree(self.work, ignore_errors=True)

    def client(self, service):
        """Returns a client of an emulated AWS service that ignores the user's AWS settings."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint_of(service),
            region_name=self.region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(proxies={}, read_timeout=90, retries={"total_max_attempts": 1}),
        )

    def endpoint_of(self, _service):
        """Returns the address at which a service is emulated."""
        return self.endpoint

    def build(self):
        """Builds the function with `sam build`, without touching the user's own build, or takes the release in `DIST`."""
        if os.environ.get("DIST"):
            self.template = released_template(release(), self._architecture())
            return
        zig_python = str(TOOLS / "cargo-lambda" / "bin")
        env = dict(self.env, PATH=os.pathsep.join((zig_python, self.env["PATH"])))
        self._run(
            "sam build (the first build compiles the AWS SDK and takes minutes)",
            [self._sam(), "build", "--template-file", ROOT / "template.yaml",
             "--build-dir", self.template.parent,
             "--parameter-overrides", f"Architecture={self._architecture()}"],
            env,
        )

    def deploy(self, release, **settings):
        """Deploys the built stack with `sam deploy`; its sample API serves this release. `settings` are further parameters."""
        parameters = {
            "Architecture": self._architecture(),
            "StageName": STAGE_NAME,
            "SampleRelease": release,
            # The emulator evaluates only alarms on a single metric, so the alarm on the minute is the plain average
            # of 5XXError instead of the metric-math alarm. `watch.py` evaluates the fast ones.
            "MinimumRequests": 0,
            "FastDetection": "on",
            # A bake time shorter than the time between two sweeps, so that the second sweep promotes.
            "SweepMinutes": 1,
            "BakeSeconds": 30,
            # One period: the emulator treats several as one, and bad data should expire soon.
            "AlarmEvaluationPeriods": 1,
            # The tests roll back several times within minutes.
            "CooldownSeconds": COOLDOWN,
            "MaxRollbacksADay": 20,
            **settings,
        }
        self._run(
            f"sam deploy, release {release}",
            [self._sam(), "deploy", "--template-file", self.template,
             "--config-file", ROOT / "samconfig.toml", "--stack-name", STACK_NAME,
             "--region", self.region, "--no-confirm-changeset", "--no-progressbar",
             "--parameter-overrides", *(f"{key}={value}" for key, value in parameters.items())],
            self.env,
        )
        self.read_outputs(STACK_NAME)

    def read_outputs(self, name):
        described = self.client("cloudformation").describe_stacks(StackName=name)
        self.outputs = {
            output["OutputKey"]: output["OutputValue"]
            for output in described["Stacks"][0]["Outputs"]
        }

    @property
    def api(self):
        return self.outputs["ProtectedApi"]

    @property
    def url(self):
        """The address of the sample API on the emulated gateway."""
        return f"{self.endpoint}/restapis/{self.api}/{STAGE_NAME}/_user_request_/"

    def request(self):
        """Sends one request as a user and returns the HTTP status."""
        return self.answer()[0]

    def answer(self):
        """Sends one request as a user and returns the HTTP status, and the release that answered if the answer names it."""
        try:
            with _DIRECT.open(self.url, timeout=15) as response:
                return response.status, release_in(response.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, release_in(refusal.read())

    def invoke(self, event):
        """Invokes the function with an event and returns its answer."""
        answer = self.client("lambda").invoke(
            FunctionName=self.outputs["FunctionName"], Payload=json.dumps(event)
        )
        body = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise StepFailed(f"the function failed on {json.dumps(event)}: {json.dumps(body)}")
        return body

    def command(self, name, **arguments):
        """Sends the function a command about the sample stage."""
        return self.invoke(
            {"command": name, "stage": {"api": self.api, "name": STAGE_NAME}, **arguments}
        )

    def stage(self, name=STAGE_NAME):
        return self.client("apigateway").get_stage(restApiId=self.api, stageName=name)

    def reports(self):
        """Returns the function's reports so far, in order, from its log."""
        pages = self.client("logs").get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{self.outputs['FunctionName']}"
        )
        reports = []
        for event in (event for page in pages for event in page["events"]):
            with contextlib.suppress(ValueError):
                line = json.loads(event["message"])
                if isinstance(line, dict) and line.get("message") == "report":
                    reports.append(line)
        return reports

    def _start_emulator(self):
        env = dict(
            self.env,
            BIND_HOST="127.0.0.1",
            GATEWAY_PORT=str(self.port),
            MINISTACK_REGION=self.region,
            FORWARDED_EVENTS=str(self.forwarded),
            CARRIER=CARRIER,
            # The emulator keeps code and state in the temporary folder and does not clean up.
            TMPDIR=str(self.work),
        )
        log = self.work / "emulator.log"
        with log.open("wb") as output:
            self.emulator = subprocess.Popen(
                [TOOLS / "emulator" / "bin" / "python", ROOT / "tests" / "e2e" / "emulator.py"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd=self.work, env=env, start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while not self._healthy():
            if self.emulator.poll() is not None or time.monotonic() > deadline:
                print(tail(log), file=sys.stderr)
                raise StepFailed("the emulator did not start; read the end of its log above")
            time.sleep(0.2)
        self.timeline.say(f"the emulator (MiniStack) listens on {self.endpoint}")

    def _healthy(self):
        with contextlib.suppress(OSError):
            with _DIRECT.open(f"{self.endpoint}/_ministack/health", timeout=2) as response:
                return response.status == 200
        return False

    def _run(self, title, command, env):
        """Runs a long step. Shows its progress, and its output only if it fails."""
        self.timeline.say(title)
        log = self.work / "step.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, cwd=ROOT, env=env, start_new_session=True,
            )
        try:
            while True:
                try:
                    status = process.wait(10)
                    break
                except subprocess.TimeoutExpired:
                    self.timeline.say(f"    {last_line(log)[:90]}")
        finally:
            if process.poll() is None:
                stop_group(process)
        if status != 0:
            print(tail(log), file=sys.stderr)
            raise StepFailed(f"`{title}` ended with status {status}; read the end of its output above")

    def _print_how_to_look_around(self):
        status = {"command": "status", "stage": {"api": self.outputs.get("ProtectedApi"), "name": STAGE_NAME}}
        print(f"""
KEEP=1: the emulator and the stack keep running. In another shell:
    export AWS_ENDPOINT_URL={self.endpoint} AWS_DEFAULT_REGION={REGION} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
    curl -i {self.url if self.outputs else self.endpoint}
    {self._sam()} list stack-outputs --stack-name {STACK_NAME}
    {self._sam()} remote invoke --stack-name {STACK_NAME} RollbackFunction --event '{json.dumps(status)}'
The emulator's log: {self.work}/emulator.log
To clean up: kill {self.emulator.pid}; rm -r {self.work}""")

    @staticmethod
    def _sam():
        return TOOLS / "sam" / "bin" / "sam"

    @staticmethod
    def _architecture():
        # The emulator runs the function as a local process.
        return "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"


def release_in(body):
    """Returns the release in an answer of the sample's backend."""
    with contextlib.suppress(ValueError, AttributeError):
        return json.loads(body).get("release")
    return None


def tail(path, lines=40):
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def last_line(path):
    lines = [line.strip() for line in tail(path).splitlines() if line.strip()]
    return lines[-1] if lines else "working"
