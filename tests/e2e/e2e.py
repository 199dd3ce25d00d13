"""`make e2e`: the demo's story as assertions, and the direct commands, on the deployed stack."""

import json
import os
import sys

from stack import STAGE_NAME, Stack, StepFailed, Timeline, stop_on_signals
from story import ALARM, Users, live_until_healthy, wait_for

PARKED_STAGE = f"{STAGE_NAME}-known-good"


class Checks:
    """Counts what held and what did not, and says so."""

    def __init__(self, say):
        self.say = say
        self.failed = 0

    def that(self, what, holds, facts=""):
        if holds:
            self.say(f"ok      {what}")
        else:
            self.failed += 1
            self.say(f"NOT OK  {what}: {facts}")

    def equal(self, what, got, wanted):
        self.that(what, got == wanted, f"got {got!r}, wanted {wanted!r}")


def main():
    stop_on_signals()
    timeline = Timeline()
    checks = Checks(timeline.say)
    try:
        with Stack(timeline, keep=os.environ.get("KEEP", "") not in ("", "0")) as stack:
            play(stack, checks)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    timeline.say(f"{checks.failed} checks failed" if checks.failed else "all checks held")
    return 1 if checks.failed else 0


def play(stack, checks):
    stack.build()
    stack.deploy(release=1)
    users = Users(stack)
    messages = listen_to_the_alarm_topic(stack)
    refuse_what_cannot_be_done(stack, checks)
    good = record_release_one(stack, users, checks)
    stack.deploy(release=2)
    bad = released(stack)
    plan_release_one(stack, checks, good, bad)
    alarm_rolls_back(stack, users, checks, good)
    same_alarm_again(stack, checks, messages)
    roll_back_by_hand(stack, checks, good, bad)
    answer_what_cannot_be_read(stack, checks)


def released(stack, stage=STAGE_NAME):
    """What decides what a stage serves."""
    live = stack.stage(stage)
    return {"deployment": live["deploymentId"], "variables": live.get("variables", {})}


def world(stack):
    """All the function may write, to tell whether it wrote."""
    stages = stack.client("apigateway").get_stages(restApiId=stack.api)["item"]
    return {
        "stages": {each.pop("stageName"): each for each in stages},
        "parameters": {each["Name"]: each["Version"] for each in parameters(stack)},
    }


def parameters(stack):
    pages = stack.client("ssm").get_paginator("get_parameters_by_path")
    return [
        each
        for page in pages.paginate(Path="/apigw-rollback", Recursive=True)
        for each in page["Parameters"]
    ]


def named(stack, part):
    return [each["Name"] for each in parameters(stack) if part in each["Name"]]


def outcome_of(report):
    return f"{report.get('outcome')} ({report.get('reason')}: {report.get('message')})"


def listen_to_the_alarm_topic(stack):
    """A queue beside the function, which keeps the very message that the function receives."""
    sqs = stack.client("sqs")
    url = sqs.create_queue(QueueName="listener")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    stack.client("sns").subscribe(
        TopicArn=stack.outputs["AlarmTopicArn"], Protocol="sqs", Endpoint=arn
    )

    def receive():
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        envelopes = [json.loads(each["Body"]) for each in found]
        return [each for each in envelopes if '"NewStateValue": "ALARM"' in each["Message"]]

    return receive


def refuse_what_cannot_be_done(stack, checks):
    before = world(stack)
    status = stack.command("status")
    checks.equal("status answers before anything is recorded", status.get("outcome"), "status")
    rollback = stack.command("rollback", reason="nothing is recorded yet")
    checks.equal("rollback without a record is held", rollback.get("outcome"), "held")
    checks.equal("  because nothing is known-good", rollback.get("reason"), "no-known-good")
    unknown = stack.invoke({"command": "status", "stage": {"api": "no-such-api", "name": "prod"}})
    checks.that(
        "a stage that does not exist is no success", unknown.get("outcome") != "status", outcome_of(unknown)
    )
    checks.equal("nothing was written", world(stack), before)


def record_release_one(stack, users, checks):
    checks.equal("release 1 serves", set(users.send(20)), {200})
    good = released(stack)
    report = stack.command("record", label="release 1", note="first release", who="make e2e")
    checks.that("release 1 is recorded", report.get("outcome") == "recorded", outcome_of(report))
    checks.equal("recording leaves the stage alone", released(stack), good)
    checks.equal("one record is in the parameter store", len(named(stack, "/known-good")), 1)
    checks.equal("the API's name is in the index", len(named(stack, "/names/")), 1)
    parked = stack.stage(PARKED_STAGE)
    checks.equal("a parked stage keeps the deployment", parked["deploymentId"], good["deployment"])
    limits = parked.get("methodSettings", {}).get("*/*", {})
    checks.that(
        "and serves nobody",
        limits.get("throttlingRateLimit") == 0 and limits.get("throttlingBurstLimit") == 0,
        limits,
    )
    return good


def plan_release_one(stack, checks, good, bad):
    checks.that("release 2 is another deployment", bad["deployment"] != good["deployment"], bad)
    checks.equal("release 2 fails", set(stack.request() for _ in range(5)), {500})
    before = world(stack)
    report = stack.command("plan")
    checks.that(
        "a plan tells of the rollback", report.get("outcome") == "would-roll-back", outcome_of(report)
    )
    checks.equal("  from release 2", report["before"]["deployment"], bad["deployment"])
    checks.equal("  to release 1", report["after"]["deployment"], good["deployment"])
    checks.equal("and nothing was written", world(stack), before)


def alarm_rolls_back(stack, users, checks, good):
    recovery = live_until_healthy(stack, users, good["deployment"], checks.say)
    checks.that("the alarm fired", recovery.alarm is not None)
    checks.that("traffic was healthy within 60 s of the alarm", recovery.healthy is not None)
    checks.equal("deployment and variables are those of release 1", released(stack), good)
    reports = wait_for("the alarm's report", lambda: reports_of_alarm(stack))
    checks.equal("the function reports it", [each["outcome"] for each in reports], ["rolled-back"])
    checks.equal("an incident is on record", len(named(stack, "/incidents/")), 1)


def reports_of_alarm(stack):
    return [each for each in stack.reports() if each.get("alarm") == ALARM]


def same_alarm_again(stack, checks, messages):
    """Alarms are delivered at least once: the second delivery must change nothing."""
    envelope = wait_for("the alarm's message", messages)[0]
    record = {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "arn:again", "Sns": envelope}
    before = world(stack)
    report = stack.invoke({"Records": [record]})
    checks.that(
        "the same alarm again is no second rollback",
        report.get("outcome") in ("held",),
        outcome_of(report),
    )
    checks.equal("and nothing was written", world(stack), before)


def roll_back_by_hand(stack, checks, good, bad):
    """The bad release is put back behind everybody's back, and an operator rolls back."""
    stack.client("apigateway").update_stage(
        restApiId=stack.api,
        stageName=STAGE_NAME,
        patchOperations=[
            {"op": "replace", "path": "/deploymentId", "value": bad["deployment"]},
            {"op": "replace", "path": "/variables/release", "value": bad["variables"]["release"]},
            {"op": "replace", "path": "/variables/leftover", "value": "of-release-2"},
        ],
    )
    report = stack.command("rollback", reason="tried by hand")
    checks.that("rollback by hand works", report.get("outcome") == "rolled-back", outcome_of(report))
    checks.equal("deployment and variables are those of release 1", released(stack), good)
    checks.equal("release 1 serves", set(stack.request() for _ in range(5)), {200})
    before = world(stack)
    again = stack.command("rollback", reason="tried by hand again")
    checks.equal("rollback of a healthy stage is held", again.get("outcome"), "held")
    checks.equal("and nothing was written", world(stack), before)


def answer_what_cannot_be_read(stack, checks):
    """An event beyond the JSON reader's depth still reaches the function, and is reported."""
    deep = []
    for _ in range(300):
        deep = [deep]
    report = stack.invoke({"Records": deep})
    checks.equal("a deeply nested event is rejected", report.get("reason"), "malformed")


if __name__ == "__main__":
    sys.exit(main())
