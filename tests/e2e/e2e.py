"""`make e2e`: asserts the demo's scenario, the sweep and the direct commands on the deployed stack."""

import contextlib
import datetime
import json
import os
import subprocess
import sys
import time

import delivery
import fast
from checks import Checks
from drill import NotDrilled, Sandbox, drill
from metrics import AT_ONCE, PAUSED
from stack import (
    COOLDOWN, ROOT, STACK_NAME, STAGE_NAME, Stack, StepFailed, Timeline, clean_environment, stop_on_signals,
)
from story import (
    ALARM, ALARM_IS_OVER, TWO_SWEEPS, Reports, Users, earned, recovered, rolled_back, swept, wait_for,
    watch_until_healthy,
)
from watch import FAST_ALARM, Watch

PARKED_STAGE = f"{STAGE_NAME}-known-good"
# The sweep runs once a minute; the emulator may start it ten seconds late.
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
    # The requests of a release decide at once in these stories, or not at all.
    settings = {"DecideSeconds": 6}
    stack.deploy(release=1, **settings)
    messages = listen_to_the_alarm_topic(stack)
    fast.the_emulator_counts_as_cloudwatch(stack, checks)
    refuse_impossible_commands(stack, checks)
    with Users(stack) as users, Watch(stack) as watch:
        reports = Reports(stack, users, checks.say)
        good = earn_release_one(stack, reports, checks)
        record_as_a_pipeline(stack, checks, good)
        # On AWS they come once a minute, and so after the fast alarm.
        users.own_metrics.pace = PAUSED
        with users.away():
            stack.deploy(release=2, **settings)
            bad = released(stack)
            plan_release_one(stack, checks, good, bad)
        fast_alarm_rolls_back(stack, users, watch, reports, checks, good, bad)
        with users.away():
            # A fast alarm does nothing by itself, and here its requests say nothing about the release that is live now.
            same_alarm_again(stack, checks, messages, FAST_ALARM, ("ignored", "not-decided"))
        recover(stack, reports, checks)
        with users.away():
            roll_back_by_hand(stack, checks, good, bad)
        fast.one_in_six_fails(stack, users, watch, reports, checks, good["deployment"])
        with users.away():
            same_alarm_again(stack, checks, messages, ALARM, ("held", "already-known-good"))
        fast.seconds_to_the_rollback(stack, users, watch, reports, checks, good["deployment"])
        lose_an_event(stack, users, reports, checks, good, messages)
        read_the_history(stack, checks)
        use_the_command_line_tool(stack, checks)
        send_an_unreadable_event(stack, checks)
        # The drill sets the alarm to ALARM, which must be a change. Data would evaluate it anew.
        wait_for("the alarm on the minute to be quiet", lambda: users.alarm_state() == "OK", ALARM_IS_OVER)
        with users.away():
            run_a_drill(stack, users, checks)
        fast.an_outage(stack, users, watch, reports, checks, good["deployment"], world)


def use_the_command_line_tool(stack, checks):
    """Runs the command-line tool, which reads its settings from the deployed function."""
    for arguments, answers in [
        (["status"], [0]),
        (["plan", f"{stack.api}/{STAGE_NAME}"], [0, 3]),
        (["history", f"{stack.api}/{STAGE_NAME}"], [0]),
        (["incidents", f"{stack.api}/{STAGE_NAME}"], [0]),
        # The emulator has no data for the alarms and cannot simulate policies, which the doctor reports.
        (["doctor"], [0, 5, 6, 9]),
    ]:
        tool = ROOT / "target" / "debug" / "apigw-rollback"
        command = [tool, *arguments, "--function", stack.outputs["FunctionName"]]
        ran = subprocess.run(command, env=clean_environment(stack.endpoint), capture_output=True, text=True, timeout=60)
        end = (ran.stderr.strip() or ran.stdout.strip())[-200:]
        checks.that(f"`apigw-rollback {arguments[0]}` answers", ran.returncode in answers, f"{ran.returncode}: {end}")


def run_a_drill(stack, users, checks):
    """Runs `make drill` on this stack, once the cooldown of the last rollback is over.

    The emulator writes no access log, so the lines come from the test, and the measured times say nothing about AWS.
    """
    sandbox = Sandbox(STACK_NAME, stack.client)
    # Requests of the same second would count, too.
    time.sleep(1.1)
    took = delivery.measure(sandbox, checks.say, request=lambda: users.send(1))
    checks.that("the drill measures when the access log's metric counts a request",
                len(took) == delivery.TIMES and max(took) < 10, took)
    said = []
    sandbox.stage = PARKED_STAGE
    checks.equal("a stage without an access log is not measured", delivery.measure(sandbox, said.append), [])
    checks.that("  and the drill says so", "has no access log" in " ".join(said), said)
    time.sleep(COOLDOWN + 1)
    try:
        drill(Sandbox(STACK_NAME, stack.client), checks.say)
        checks.that("the drill passes", True)
        *_, last = [report for report in map(json.loads, (line["report"] for line in stack.reports())) if rolled_back(report)]
        checks.equal("  by the alarm's event, not by a sweep", last["signal"]["kind"], "alarm")
    except NotDrilled as failure:
        checks.that("the drill passes", False, failure)


def released(stack, stage=STAGE_NAME):
    """Returns the deployment and the variables that a stage serves."""
    live = stack.stage(stage)
    return {"deployment": live["deploymentId"], "variables": live.get("variables", {})}


def world(stack):
    """Returns everything that the function may write, so that two calls show whether it wrote."""
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
    # Every sweep writes its time there.
    return [each for each in found if each["Name"] != "/apigw-rollback/sweep"]


def named(stack, part):
    return [each["Name"] for each in parameters(stack) if part in each["Name"]]


def outcome_of(report):
    return f"{report.get('outcome')} ({report.get('reason')}: {report.get('message')})"


def listen_to_the_alarm_topic(stack):
    """Subscribes a queue to the alarm topic. Returns a function that receives the messages."""
    sqs = stack.client("sqs")
    url = sqs.create_queue(QueueName="listener")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    stack.client("sns").subscribe(
        TopicArn=stack.outputs["AlarmTopicArn"], Protocol="sqs", Endpoint=arn
    )

    def receive():
        """Returns the messages since the last call, of alarms that fired."""
        found = []
        while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for each in batch:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
            found += batch
        envelopes = [json.loads(each["Body"]) for each in found]
        return [each for each in envelopes if '"NewStateValue": "ALARM"' in each["Message"]]

    return receive


def refuse_impossible_commands(stack, checks):
    before = world(stack)
    status = stack.command("status")
    checks.equal("status works before anything is recorded", status.get("outcome"), "status")
    rollback = stack.command("rollback", reason="nothing is recorded yet")
    checks.equal("a rollback without a record is held", rollback.get("outcome"), "held")
    checks.equal("  because the stage has no known-good release", rollback.get("reason"), "no-known-good")
    unknown = stack.invoke({"command": "status", "stage": {"api": "no-such-api", "name": "prod"}})
    checks.that(
        "status of a stage that does not exist fails", unknown.get("outcome") != "status", outcome_of(unknown)
    )
    checks.equal("nothing was written", world(stack), before)


def earn_release_one(stack, reports, checks):
    """No operator records anything: the scheduled sweeps promote release 1. Returns the release."""
    good = released(stack)
    report = reports.until("release 1 to be known-good", earned, TWO_SWEEPS)
    checks.equal("the sweep promoted release 1", report["signal"]["kind"], "sweep")
    checks.equal("  which is the live release", (report["after"] or {}).get("deployment"), good["deployment"])
    checks.equal("promotion does not change the stage", released(stack), good)
    by_hand = [each for each in reports.all() if each["outcome"] == "recorded"]
    checks.equal("no operator recorded anything", by_hand, [])
    checks.equal("Parameter Store has one record", len(named(stack, "/known-good")), 1)
    checks.equal("the index has the API's name", len(named(stack, "/names/")), 1)
    parked = stack.stage(PARKED_STAGE)
    checks.equal("a parked stage keeps the deployment", parked["deploymentId"], good["deployment"])
    limits = parked.get("methodSettings", {}).get("*/*", {})
    checks.that(
        "  and allows no requests",
        limits.get("throttlingRateLimit") == 0 and limits.get("throttlingBurstLimit") == 0,
        limits,
    )
    return good


def record_as_a_pipeline(stack, checks, good):
    report = stack.command("record", label="release 1", note="first release", who="make e2e")
    checks.that("a pipeline can record as well", report.get("outcome") == "recorded", outcome_of(report))
    checks.equal("recording does not change the stage", released(stack), good)


def plan_release_one(stack, checks, good, bad):
    checks.that("release 2 is another deployment", bad["deployment"] != good["deployment"], bad)
    checks.equal("release 2 fails", set(stack.request() for _ in range(5)), {500})
    before = world(stack)
    report = stack.command("plan")
    checks.that(
        "a plan describes the rollback", report.get("outcome") == "would-roll-back", outcome_of(report)
    )
    checks.equal("  from release 2", report["before"]["deployment"], bad["deployment"])
    checks.equal("  to release 1", report["after"]["deployment"], good["deployment"])
    checks.equal("  and writes nothing", world(stack), before)


def fast_alarm_rolls_back(stack, users, watch, reports, checks, good, bad):
    recovery = watch_until_healthy(stack, users, watch, good["deployment"], checks.say)
    checks.that("the fast alarm fired", recovery.alarm is not None)
    checks.that("traffic was healthy within 60 s of the alarm", recovery.healthy is not None)
    checks.equal("deployment and variables are those of release 1", released(stack), good)
    report = reports.until("the alarm's report", rolled_back, patience=30)
    checks.equal("the alarm's event caused the rollback", report["signal"]["kind"], "alarm")
    checks.equal("  with this alarm", report["signal"]["name"], FAST_ALARM)
    checks.equal("  and the requests of release 2 convict it", (report.get("test") or {}).get("verdict"), "convicted")
    fast.numbers_are_those_of_the_lines(users, checks, report, bad["deployment"])
    checks.equal("the alarm on the minute did not fire", users.alarm_state(), "OK")
    checks.equal("the stage was rolled back once", len([each for each in reports.all() if rolled_back(each)]), 1)
    checks.equal("the incident is recorded", len(named(stack, "/incidents/")), 1)


ALREADY_OK = ("held", "alarm-cleared")


def same_alarm_again(stack, checks, messages, alarm, verdict):
    """Delivers the alarm's message again: SNS delivers at least once, and a second delivery must change nothing."""
    [envelope, *_] = wait_for("the alarm's message", lambda: [
        each for each in messages() if f'"{alarm}"' in each["Message"]])
    record = {
        "EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "arn:again", "Sns": envelope,
    }
    before = world(stack)
    report = stack.invoke({"Records": [record]})
    found = (report.get("outcome"), report.get("reason"))
    checks.that(
        f"a second delivery of {alarm} causes no second rollback",
        found in (verdict, ALREADY_OK),
        outcome_of(report),
    )
    # On a slow machine the alarm can be OK by now. Then the run for its OK event closes the incident at the same time.
    what = ("stages",) if found == ALREADY_OK else ("stages", "parameters")
    after = world(stack)
    checks.equal("  and writes nothing", [after[each] for each in what], [before[each] for each in what])


def recover(stack, reports, checks):
    """The alarm returns to OK, its OK event arrives, and the function closes the incident."""
    report = reports.until("the alarm to be OK again", recovered, ALARM_IS_OVER)
    checks.equal("the function reports the recovery", report["stage"]["stage"], STAGE_NAME)
    incident = [each for each in parameters(stack) if "/incidents/" in each["Name"]][0]
    closed = json.loads(incident["Value"]).get("recovered_at")
    checks.that("  and closes the incident", closed, incident["Value"])


def change_stage(stack, deployment, **variables):
    """Changes the stage directly in API Gateway, as a careless operator would."""
    operations = [{"op": "replace", "path": "/deploymentId", "value": deployment}]
    for name, value in variables.items():
        operations.append({"op": "replace", "path": f"/variables/{name}", "value": value})
    stack.client("apigateway").update_stage(
        restApiId=stack.api, stageName=STAGE_NAME, patchOperations=operations
    )


def roll_back_by_hand(stack, checks, good, bad):
    """The bad release is deployed again without the function, and an operator rolls it back."""
    change_stage(stack, bad["deployment"], release=bad["variables"]["release"], leftover="of-release-2")
    report = stack.command("rollback", reason="tried by hand")
    checks.that("an operator can roll back", report.get("outcome") == "rolled-back", outcome_of(report))
    checks.equal("deployment and variables are those of release 1", released(stack), good)
    checks.equal("release 1 serves", set(stack.request() for _ in range(5)), {200})
    before = world(stack)
    again = stack.command("rollback", reason="tried by hand again")
    checks.equal("a rollback of a healthy stage is held", again.get("outcome"), "held")
    checks.equal("  and writes nothing", world(stack), before)


@contextlib.contextmanager
def unsubscribed(stack):
    """Unsubscribes the function from the alarm topic, so that the alarm's event is lost."""
    sns = stack.client("sns")
    topic = stack.outputs["AlarmTopicArn"]
    subscriptions = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    [function] = [each for each in subscriptions if each["Protocol"] == "lambda"]
    sns.unsubscribe(SubscriptionArn=function["SubscriptionArn"])
    try:
        yield
    finally:
        sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function["Endpoint"])


def lose_an_event(stack, users, reports, checks, good, messages):
    """A third, bad release is deployed and its alarm event is lost. A hold first keeps the sweep from acting."""
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    users.own_metrics.pace = AT_ONCE
    wait_for("the alarm on the minute to be quiet", lambda: users.alarm_state() == "OK", ALARM_IS_OVER)
    hold = stack.command("hold", until=until.isoformat(timespec="seconds").replace("+00:00", "Z"),
                         reason="looking into release 3", who="make e2e")
    checks.that("an operator can hold the stage", hold.get("outcome") == "done", outcome_of(hold))
    messages()  # Those of the earlier stories.
    with unsubscribed(stack):
        before = len(reports.all())
        release_3 = stack.client("apigateway").create_deployment(restApiId=stack.api, description="release 3")
        with users.away():
            change_stage(stack, release_3["id"], release="3")
        bad = released(stack)
        wait_for("the alarm on release 3", lambda: users.alarm_state() == "ALARM", patience=60)
        checks.that("the alarm's message was sent", wait_for(
            "the message", lambda: [each for each in messages() if f'"{ALARM}"' in each["Message"]]))
        reports.skip()
        reports.until("a sweep during the hold", swept, ONE_SWEEP)
        meanwhile = reports.all()[before:]
        checks.equal("the hold keeps the sweep from acting", released(stack), bad)
        checks.that(
            "  and nothing else reached the function",
            all(each["signal"]["kind"] == "sweep" for each in meanwhile),
            [outcome_of(each) for each in meanwhile],
        )
        ended = stack.command("release-hold", who="make e2e")
        checks.that("an operator can end the hold", ended.get("outcome") == "done", outcome_of(ended))
        report = reports.until("the sweep to make up for the lost event", rolled_back, ONE_SWEEP)
        checks.equal("the sweep rolled back", report["signal"]["kind"], "sweep")
        checks.equal("  because of this alarm", report["signal"]["name"], ALARM)
        checks.equal("deployment and variables are those of release 1", released(stack), good)
        wait_for("healthy traffic", lambda: users.healthy_in_a_row >= 10)


def read_the_history(stack, checks):
    report = stack.command("history")
    text = json.dumps(report)
    checks.that("the history names the release", "release 1" in text and "first release" in text, text)
    checks.that("  and the rollback of the lost event", ALARM in text, text)


def send_an_unreadable_event(stack, checks):
    """An event that is nested too deeply for the JSON parser still reaches the function, which reports it."""
    deep = []
    for _ in range(300):
        deep = [deep]
    report = stack.invoke({"Records": deep})
    checks.equal("a deeply nested event is rejected", report.get("reason"), "malformed")


if __name__ == "__main__":
    sys.exit(main())
