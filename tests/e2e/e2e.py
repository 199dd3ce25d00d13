"""`make e2e`: the demo's story as assertions, the sweep, and the direct commands, on the deployed stack."""

import contextlib
import datetime
import json
import os
import subprocess
import sys
import time

from checks import Checks
from drill import NotDrilled, Sandbox, drill
from stack import (
    COOLDOWN, ROOT, STACK_NAME, STAGE_NAME, Stack, StepFailed, Timeline, clean_environment, stop_on_signals,
)
from story import (
    ALARM, ALARM_IS_OVER, TWO_SWEEPS, Reports, Users, earned, recovered, rolled_back, swept, wait_for,
    watch_until_healthy,
)

PARKED_STAGE = f"{STAGE_NAME}-known-good"
# The sweep comes once a minute; the emulator may see that ten seconds late.
ONE_SWEEP = 90


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
    return checks.status()


def play(stack, checks):
    stack.build()
    stack.deploy(release=1)
    messages = listen_to_the_alarm_topic(stack)
    refuse_what_cannot_be_done(stack, checks)
    with Users(stack) as users:
        reports = Reports(stack, users, checks.say)
        good = earn_release_one(stack, reports, checks)
        record_as_a_pipeline(stack, checks, good)
        with users.away():
            stack.deploy(release=2)
            bad = released(stack)
            plan_release_one(stack, checks, good, bad)
        alarm_rolls_back(stack, users, reports, checks, good)
        with users.away():
            same_alarm_again(stack, checks, messages)
        recover(stack, reports, checks)
        with users.away():
            roll_back_by_hand(stack, checks, good, bad)
        lose_an_event(stack, users, reports, checks, good, messages)
    tell_the_history(stack, checks)
    answer_what_cannot_be_read(stack, checks)
    look_from_the_command_line(stack, checks)
    hold_a_drill(stack, checks)


def look_from_the_command_line(stack, checks):
    """The tool takes its settings from the deployed function."""
    for arguments, answers in [
        (["status"], [0]),
        (["plan", f"{stack.api}/{STAGE_NAME}"], [0, 3]),
        (["history", f"{stack.api}/{STAGE_NAME}"], [0]),
        (["incidents", f"{stack.api}/{STAGE_NAME}"], [0]),
        # The emulator has no data for the alarms and no policies to ask, which the doctor has to say.
        (["doctor"], [0, 5, 6]),
    ]:
        tool = ROOT / "target" / "debug" / "apigw-rollback"
        command = [tool, *arguments, "--function", stack.outputs["FunctionName"]]
        ran = subprocess.run(command, env=clean_environment(stack.endpoint), capture_output=True, text=True, timeout=60)
        told = (ran.stderr.strip() or ran.stdout.strip())[-200:]
        checks.that(f"`apigw-rollback {arguments[0]}` answers", ran.returncode in answers, f"{ran.returncode}: {told}")


def hold_a_drill(stack, checks):
    """What `make drill` does, on this stack, once the last rollback's cooldown is over."""
    time.sleep(COOLDOWN + 1)
    try:
        drill(Sandbox(STACK_NAME, stack.client), checks.say)
        checks.that("the drill holds", True)
    except NotDrilled as failure:
        checks.that("the drill holds", False, failure)


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
    found = [
        each
        for page in pages.paginate(Path="/apigw-rollback", Recursive=True)
        for each in page["Parameters"]
    ]
    # Every sweep writes when it was.
    return [each for each in found if each["Name"] != "/apigw-rollback/sweep"]


def named(stack, part):
    return [each["Name"] for each in parameters(stack) if part in each["Name"]]


def outcome_of(report):
    return f"{report.get('outcome')} ({report.get('reason')}: {report.get('message')})"


def listen_to_the_alarm_topic(stack):
    """A queue beside the function, which gets the very messages that the function gets."""
    sqs = stack.client("sqs")
    url = sqs.create_queue(QueueName="listener")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    stack.client("sns").subscribe(
        TopicArn=stack.outputs["AlarmTopicArn"], Protocol="sqs", Endpoint=arn
    )

    def receive():
        """What came since the last time, of alarms that fired."""
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for each in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
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


def earn_release_one(stack, reports, checks):
    """Nobody records anything: the emulator's schedule sweeps, and release 1 proves itself."""
    good = released(stack)
    report = reports.until("release 1 to be known-good", earned, TWO_SWEEPS)
    checks.equal("the sweep promoted release 1", report["signal"]["kind"], "sweep")
    checks.equal("  which is what is live", (report["after"] or {}).get("deployment"), good["deployment"])
    checks.equal("promoting leaves the stage alone", released(stack), good)
    by_hand = [each for each in reports.all() if each["outcome"] == "recorded"]
    checks.equal("no person recorded anything", by_hand, [])
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


def record_as_a_pipeline(stack, checks, good):
    report = stack.command("record", label="release 1", note="first release", who="make e2e")
    checks.that("a pipeline can record as well", report.get("outcome") == "recorded", outcome_of(report))
    checks.equal("recording leaves the stage alone", released(stack), good)


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


def alarm_rolls_back(stack, users, reports, checks, good):
    recovery = watch_until_healthy(stack, users, good["deployment"], checks.say)
    checks.that("the alarm fired", recovery.alarm is not None)
    checks.that("traffic was healthy within 60 s of the alarm", recovery.healthy is not None)
    checks.equal("deployment and variables are those of release 1", released(stack), good)
    report = reports.until("the alarm's report", rolled_back, patience=30)
    checks.equal("the alarm's event did it", report["signal"]["kind"], "alarm")
    checks.equal("  by this alarm", report["signal"]["name"], ALARM)
    checks.equal("it was done once", len([each for each in reports.all() if rolled_back(each)]), 1)
    checks.equal("an incident is on record", len(named(stack, "/incidents/")), 1)


def same_alarm_again(stack, checks, messages):
    """Alarms are delivered at least once: the second delivery must change nothing."""
    envelope = wait_for("the alarm's message", messages)[0]
    record = {
        "EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "arn:again", "Sns": envelope,
    }
    before = world(stack)
    report = stack.invoke({"Records": [record]})
    checks.that(
        "the same alarm again is no second rollback",
        report.get("outcome") in ("held",),
        outcome_of(report),
    )
    checks.equal("and nothing was written", world(stack), before)


def recover(stack, reports, checks):
    """The alarm is OK again, its OK event arrives, and the incident is closed."""
    report = reports.until("the alarm to be OK again", recovered, ALARM_IS_OVER)
    checks.equal("the function tells of the recovery", report["stage"]["stage"], STAGE_NAME)
    incident = [each for each in parameters(stack) if "/incidents/" in each["Name"]][0]
    closed = json.loads(incident["Value"]).get("recovered_at")
    checks.that("  and closes the incident", closed, incident["Value"])


def put_live(stack, deployment, **variables):
    """Changes the stage behind everybody's back, as a careless hand would."""
    operations = [{"op": "replace", "path": "/deploymentId", "value": deployment}]
    for name, value in variables.items():
        operations.append({"op": "replace", "path": f"/variables/{name}", "value": value})
    stack.client("apigateway").update_stage(
        restApiId=stack.api, stageName=STAGE_NAME, patchOperations=operations
    )


def roll_back_by_hand(stack, checks, good, bad):
    """The bad release is put back behind everybody's back, and an operator rolls back."""
    put_live(stack, bad["deployment"], release=bad["variables"]["release"], leftover="of-release-2")
    report = stack.command("rollback", reason="tried by hand")
    checks.that("rollback by hand works", report.get("outcome") == "rolled-back", outcome_of(report))
    checks.equal("deployment and variables are those of release 1", released(stack), good)
    checks.equal("release 1 serves", set(stack.request() for _ in range(5)), {200})
    before = world(stack)
    again = stack.command("rollback", reason="tried by hand again")
    checks.equal("rollback of a healthy stage is held", again.get("outcome"), "held")
    checks.equal("and nothing was written", world(stack), before)


@contextlib.contextmanager
def unsubscribed(stack):
    """The function is off the alarm topic, so that the alarm's event is lost on the way."""
    sns = stack.client("sns")
    topic = stack.outputs["AlarmTopicArn"]
    all_of_it = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    [function] = [each for each in all_of_it if each["Protocol"] == "lambda"]
    sns.unsubscribe(SubscriptionArn=function["SubscriptionArn"])
    try:
        yield
    finally:
        sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function["Endpoint"])


def lose_an_event(stack, users, reports, checks, good, messages):
    """A third, bad release goes out, and its alarm reaches nobody. First an operator keeps the sweep off."""
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    hold = stack.command("hold", until=until.isoformat(timespec="seconds").replace("+00:00", "Z"),
                         reason="looking into release 3", who="make e2e")
    checks.that("an operator can hold the stage", hold.get("outcome") == "done", outcome_of(hold))
    with unsubscribed(stack):
        before = len(reports.all())
        release_3 = stack.client("apigateway").create_deployment(restApiId=stack.api, description="release 3")
        put_live(stack, release_3["id"], release="3")
        bad = released(stack)
        wait_for("the alarm on release 3", lambda: users.alarm_state() == "ALARM", patience=60)
        checks.that("the alarm's message went out", wait_for("the message", messages))
        reports.skip()
        reports.until("a sweep during the hold", swept, ONE_SWEEP)
        meanwhile = reports.all()[before:]
        checks.equal("the hold keeps the sweep off", released(stack), bad)
        checks.that(
            "and nothing else reached the function",
            all(each["signal"]["kind"] == "sweep" for each in meanwhile),
            [outcome_of(each) for each in meanwhile],
        )
        ended = stack.command("release-hold", who="make e2e")
        checks.that("the hold can be ended", ended.get("outcome") == "done", outcome_of(ended))
        healed = reports.until("the sweep to make up for the lost event", rolled_back, ONE_SWEEP)
        checks.equal("the sweep rolled back", healed["signal"]["kind"], "sweep")
        checks.equal("  for this alarm", healed["signal"]["name"], ALARM)
        checks.equal("deployment and variables are those of release 1", released(stack), good)
        wait_for("healthy traffic", lambda: users.healthy_in_a_row >= 10)


def tell_the_history(stack, checks):
    report = stack.command("history")
    told = json.dumps(report)
    checks.that("the history names the release", "release 1" in told and "first release" in told, told)
    checks.that("  and the rollback of the lost event", ALARM in told, told)


def answer_what_cannot_be_read(stack, checks):
    """An event beyond the JSON reader's depth still reaches the function, and is reported."""
    deep = []
    for _ in range(300):
        deep = [deep]
    report = stack.invoke({"Records": deep})
    checks.equal("a deeply nested event is rejected", report.get("reason"), "malformed")


if __name__ == "__main__":
    sys.exit(main())
