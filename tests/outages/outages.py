"""`make outages`: plays stories of slow, failing and dying AWS calls on the real function, against an emulator.

    outages.py BINARY [PART OF A STORY'S SENTENCE]
"""

import json
import os
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from checks import Checks  # noqa: E402
from proxy import Fault, Proxy  # noqa: E402
from runtime_api import ACCOUNT, REGION, Function  # noqa: E402
from stack import Stack, StepFailed, Timeline, clean_environment, stop_on_signals  # noqa: E402
from stories import ALL, A  # noqa: E402
from world import Api, Somebody  # noqa: E402

# After these seconds a run that claimed a rollback counts as dead: `UNDER_WAY` in src/decide/claim.rs, and one more.
DEAD_AFTER = 46
# Most of a story is waiting.
AT_ONCE = int(os.environ.get("AT_ONCE", "8"))


def main():
    stop_on_signals()
    binary, *parts = sys.argv[1:]
    chosen = [story for story in ALL if not parts or any(part in story.name for part in parts)]
    if not chosen:
        print(f"error: no story contains {' or '.join(map(repr, parts))}", file=sys.stderr)
        return 2
    timeline = Timeline()
    checks = Checks(timeline.say)
    try:
        with Stack(timeline) as stack:
            played = play(stack, binary, chosen, checks)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    windows(played, timeline.say)
    return checks.status()


def play(stack, binary, chosen, checks):
    """Plays the stories, several at a time. Returns each with the world that it ended in."""
    lock, played = threading.Lock(), []

    def one(numbered):
        number, story = numbered
        with World(stack, binary, number, story) as world:
            try:
                wrong = world.play()
            except Exception as failure:  # a story that cannot be played fails, and the others go on
                wrong = f"{type(failure).__name__}: {failure}"
            with lock:
                checks.that(story.name, not wrong, wrong)
                if wrong:
                    checks.say(f"        {world.described()}")
                played.append((story, world))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, enumerate(chosen)))
    return played


def windows(played, say):
    """Says how many fixes were overwritten, and how old the look before a change was at most."""
    fixes = [world for story, world in played if story in A]
    overwritten = sum(world.ended != "fix" for world in fixes)
    looks = [age for _, world in played for age in world.ages()]
    if fixes:
        say(f"windows shown: {overwritten} of {len(fixes)} fixes that somebody deployed during a run were overwritten")
    if looks:
        say(f"the oldest look before a change: {max(looks):.2f} s, of {len(looks)} changes")


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
        return Function(self.binary, name, environment, self.stack.work / f"{name}.log")

    def client(self, service):
        return boto3.client(
            service, endpoint_url=self.stack.endpoint, region_name=REGION, aws_access_key_id=ACCOUNT,
            aws_secret_access_key="test", config=Config(proxies={}, retries={"total_max_attempts": 1}))

    def play(self):
        """Plays the story. Returns what is wrong at its end, or an empty text."""
        story, first = self.story, self.apis[0]
        for api in self.apis:
            recorded = self.function.invoke({"command": "record", **api.command})
            if not recorded or recorded.get("outcome") != "recorded":
                return f"the good release is not recorded: {recorded}"
            if story.alias:
                api.move_alias("2")
            api.deploy(api.bad, "2")
        if story.namesake:
            self.client("apigateway").create_rest_api(name=first.name)
            self.function.invoke({"command": "sweep"})
        # API Gateway's times are whole seconds: the alarm must be visibly later than the change.
        time.sleep(1.1)
        events = [api.set_off(self.function.arn, story.knows_time) for api in self.apis]
        if story.fixed_before:
            time.sleep(1.1)
            first.deploy(first.fix, "3")
        event = events[0] if len(events) == 1 else batch(events)
        faults = list(story.faults)
        if len(events) > 1:
            faults.append(Fault("GetStage", about=first.id, held=60))
        self.proxy.arm(faults)
        somebody = Somebody(first, *story.fix) if story.fix else None
        if somebody:
            self.proxy.on_call = somebody.called
        self.began = time.monotonic()
        self.answer = self.function.invoke(event, story.time_out)
        took = time.monotonic() - self.began
        if somebody:
            somebody.finish()
        self.calls = list(self.proxy.calls)
        for what in story.then:
            if what == "later":
                time.sleep(DEAD_AFTER)
                continue
            self.proxy.arm([])
            again = event if what == "again" else {"command": "sweep"}
            self.answer = self.function.invoke(again)
            self.calls += self.proxy.calls
        self.ended = first.live()
        return self.wrong(took, somebody)

    def wrong(self, took, somebody):
        story = self.story
        if somebody and somebody.done_at is None:
            return "nobody did anything meanwhile: the story did not happen"
        if story.live and self.ended != story.live:
            return f"the stage serves {self.ended}, not {story.live}"
        outcome = (self.answer or {}).get("outcome")
        if story.outcome and outcome != story.outcome:
            return f"the outcome is {outcome}"
        if story.says and story.says.lower() not in json.dumps(self.answer).lower():
            return f"the answer does not say `{story.says}`"
        told = [subject for subject in self.subjects() if subject.startswith(story.subjects)]
        if not story.told[0] <= len(told) <= story.told[1]:
            return f"told {len(told)} times, not {story.told}: {self.subjects()}"
        if took > story.seconds:
            return f"it took {took:.1f} s"
        return story.also(self) if story.also else ""

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

    def ages(self):
        """Returns how long before each change of a stage the last look at it was sent."""
        ages = []
        for change in self.calls:
            if change.operation != "UpdateStage" or change.status != 200:
                continue
            looks = [call.arrived for call in self.calls
                     if call.operation in ("GetStage", "UpdateStage") and call.about == change.about
                     and call.arrived < change.arrived and call.done]
            ages += [change.arrived - max(looks)] if looks else []
        return ages

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


if __name__ == "__main__":
    sys.exit(main())
