"""What outages and attacks share: the emulated world of one story, and the player of many stories at once."""

import json
import os
import sys
import threading
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from checks import Checks  # noqa: E402
from parts import zipped  # noqa: E402
from proxy import Proxy  # noqa: E402
from runtime_api import ACCOUNT, REGION, Function  # noqa: E402
from stack import Stack, StepFailed, Timeline, clean_environment, stop_on_signals  # noqa: E402
from world import Api  # noqa: E402

# Most of a story is waiting.
AT_ONCE = int(os.environ.get("AT_ONCE", "8"))


def run(arguments, stories, world_of, summary=lambda played, say: None):
    """Plays the stories whose sentences contain one of the arguments after the binary. Returns the exit status."""
    stop_on_signals()
    binary, *parts = arguments
    chosen = [story for story in stories if not parts or any(part in story.name for part in parts)]
    if not chosen:
        print(f"error: no story contains {' or '.join(map(repr, parts))}", file=sys.stderr)
        return 2
    timeline = Timeline()
    checks = Checks(timeline.say)
    try:
        with Stack(timeline) as stack:
            played = play(stack, binary, chosen, checks, world_of)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    summary(played, timeline.say)
    return checks.status()


def play(stack, binary, chosen, checks, world_of):
    """Plays the stories, several at a time. Returns each with the world that it ended in."""
    lock, played = threading.Lock(), []

    def one(numbered):
        number, story = numbered
        with world_of(stack, binary, number, story) as world:
            try:
                wrong = world.play()
            except Exception as failure:  # a story that cannot be played fails, and the others go on
                wrong = f"{type(failure).__name__}: {failure}"
            with lock:
                checks.that(story.name, not wrong, wrong)
                if wrong:
                    checks.say(f"        {world.described()}")
                played.append((story, world))

    numbered = list(enumerate(chosen))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, [each for each in numbered if not each[1].alone]))
    for each in numbered:
        if each[1].alone:
            one(each)
    return played


class World:
    """The emulated world of one story."""

    def __init__(self, stack, binary, number, story):
        self.story, self.stack = story, stack
        self.name = f"story-{number}"
        self.proxy = Proxy(stack.endpoint)
        self.topic = self.client("sns").create_topic(Name=self.name)["TopicArn"]
        names = [f"{self.name}-{letter}" for letter in "abcdefghij"[:story.apis]]
        self.apis = [self.api(name) for name in names]
        if story.alias:
            self.apis[0].add_alias()
        self.binary = binary
        self.function = self.start(self.name, self.apis)
        self.proxy.kill = self.function.kill
        self.began, self.answer, self.ended = 0.0, None, None

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.function.close()
        self.proxy.close()

    def api(self, name):
        return Api(self.client, name, self.story.variables)

    def start(self, name, apis):
        """Makes a function that protects the stages of these APIs and keeps its records under its name."""
        environment = dict(
            clean_environment(self.proxy.endpoint), AWS_ACCESS_KEY_ID=ACCOUNT,
            PROTECTED_STAGES=json.dumps([api.entry for api in apis]), PARAMETER_PREFIX=f"/{name}",
            NOTIFICATION_TOPIC_ARN=self.topic, COOLDOWN_SECONDS="0", **self.story.settings)
        self.let_alarms_invoke(name)
        return Function(self.binary, name, environment, self.stack.work / f"{name}.log")

    def let_alarms_invoke(self, name):
        """Gives the emulator a function of this name, whose policy lets CloudWatch invoke it. The emulator does not run ours."""
        functions = self.client("lambda")
        functions.create_function(
            FunctionName=name, Runtime="python3.13", Role=f"arn:aws:iam::{ACCOUNT}:role/{name}", Handler="index.handler",
            Code={"ZipFile": zipped(200)})
        functions.add_permission(
            FunctionName=name, StatementId="alarms", Action="lambda:InvokeFunction",
            Principal="lambda.alarms.cloudwatch.amazonaws.com", SourceAccount=ACCOUNT)

    def client(self, service):
        return boto3.client(
            service, endpoint_url=self.stack.endpoint, region_name=REGION, aws_access_key_id=ACCOUNT,
            aws_secret_access_key="test", config=Config(proxies={}, retries={"total_max_attempts": 1}))

    def published(self):
        """Returns the notifications that the topic took."""
        taken = [call for call in self.calls if call.operation == "Publish" and call.status == 200]
        return [urllib.parse.parse_qs(call.body.decode()) for call in taken]

    def subjects(self):
        return [form["Subject"][0] for form in self.published()]

    def messages(self):
        return [form["Message"][0] for form in self.published()]

    def parameters(self):
        pages = self.client("ssm").get_paginator("get_parameters_by_path")
        found = pages.paginate(Path=f"/{self.name}", Recursive=True)
        return [each["Name"] for page in found for each in page["Parameters"]]

    def described(self):
        calls = ", ".join(
            f"{call.arrived - self.began:.1f} {call.operation} {call.status or '-'}" for call in self.calls)
        return f"answer {json.dumps(self.answer)[:600]}; calls {calls}"

    calls = ()


def batch(events):
    """Returns an SQS event with one message for each alarm."""
    return {"Records": [
        {"messageId": f"m{number}", "body": json.dumps(event), "eventSource": "aws:sqs",
         "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:alarms"}
        for number, event in enumerate(events)]}
