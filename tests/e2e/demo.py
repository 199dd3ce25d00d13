"""`make demo`: a release becomes known-good, a bad one is deployed, an alarm fires, the stage is rolled back."""

import json
import os
import sys
import time

from picture import Panel, draw
from stack import ROOT, Stack, StepFailed, Timeline, stop_on_signals
from story import (
    ALARM, ALARM_IS_OVER, HEALTHY_IN_A_ROW, PATIENCE, TWO_SWEEPS, Reports, Users, counted, earned,
    recovered, rolled_back, watch_until_healthy,
)


def main():
    stop_on_signals()
    timeline = Timeline()
    try:
        with Stack(timeline, keep=os.environ.get("KEEP", "") not in ("", "0")) as stack:
            return play(stack, timeline.say)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1


def play(stack, say):
    stack.build()
    stack.deploy(release=1)
    with Users(stack) as users:
        reports = Reports(stack, users, say)
        good = release_one(stack, reports, say)
        proven = time.monotonic()
        with users.away():
            stack.deploy(release=2)
        deployed = time.monotonic()
        live = stack.stage()
        say(f"release 2 is live: deployment {live['deploymentId']}, variables {live['variables']}")
        recovery = watch_until_healthy(stack, users, good, say)
        status = show(stack, reports, good, recovery, say)
        if status == 0:
            say(f"the timeline as a picture: {picture(users.seen, proven, deployed, recovery)}")
        return status


def release_one(stack, reports, say):
    """Waits until the sweep promotes release 1 without an operator. Returns its deployment."""
    live = stack.stage()
    say(f"release 1 is live: deployment {live['deploymentId']}, variables {live['variables']}")
    say(f"users send requests to {stack.url}")
    say("(the emulated gateway publishes no metrics, unlike API Gateway: the demo turns the statuses that")
    say(" users receive into AWS/ApiGateway metric data)")
    say("no operator records release 1: one sweep notes it as the candidate, and a later sweep promotes it,")
    say("once its alarms were quiet for the bake time (30 s here, 30 minutes by default)")
    # EventBridge Scheduler begins at once. The emulator waits for the first interval, so the demo makes the first sweep.
    stack.invoke({"command": "sweep"})
    reports.until("release 1 to be known-good", earned, TWO_SWEEPS)
    return live["deploymentId"]


def show(stack, reports, good, recovery, say):
    """Prints the rollback's report and the times. Returns the exit status."""
    if recovery.alarm is None:
        say(f"FAILED: the alarm {ALARM} did not fire within {PATIENCE} s")
        return 1
    if recovery.healthy is None:
        say(f"FAILED: users still got errors {PATIENCE} s after the alarm")
        return 1
    report = reports.until("the report of the rollback", rolled_back, PATIENCE)
    print(json.dumps(report, indent=2), flush=True)
    live = stack.stage()
    if live["deploymentId"] != good:
        say(f"FAILED: the stage serves deployment {live['deploymentId']}, not {good}")
        return 1
    say("the incident stays open until the errors leave the alarm's period and the alarm is OK again")
    reports.until("the alarm to be OK again", recovered, ALARM_IS_OVER)
    recovery.mark("over", f"the alarm {ALARM} is OK again, and the function closes the incident")
    say(f"from the alarm to the rolled-back stage: {recovery.after_alarm('stage_back')}; "
        f"to {counted([stack.request() for _ in range(20)])}: {recovery.after_alarm('healthy')}")
    return 0


def picture(answers, proven, deployed, recovery):
    """Draws the answers that users got: the whole demo above, the rollback below. Returns the file."""
    zero = min(at for at, status in answers if status >= 500)
    turn = [
        (recovery.alarm, "alarm fires"),
        (recovery.stage_back, "stage is rolled back"),
        (recovery.healthy, f"{HEALTHY_IN_A_ROW} good answers in a row"),
    ]
    whole = [
        (proven, "release 1 is known-good; release 2 is deployed, users pause"),
        (deployed, "release 2 is live"),
        (recovery.stage_back, "rolled back"),
        (recovery.over, "alarm is OK again"),
    ]
    begin, end = min(answers)[0] - zero, max(answers)[0] - zero
    near = (deployed, "release 2 is live, users resume")
    return draw(ROOT / "target" / "demo.svg", "A bad release, an alarm, and the rollback", [
        Panel("The whole demo", answers, whole, zero, (begin, end), 2.0),
        Panel("The rollback", answers, [near, *turn], zero, (-3, 9), 0.5),
    ])


if __name__ == "__main__":
    sys.exit(main())
