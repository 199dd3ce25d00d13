"""`make demo`: a release earns its record, a bad one goes out, an alarm fires, the stage is back."""

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
            say(f"a picture of it: {picture(users.seen, proven, deployed, recovery)}")
        return status


def release_one(stack, reports, say):
    """Release 1 serves, and becomes known-good with nobody's help. Returns its deployment."""
    live = stack.stage()
    say(f"release 1 is live: deployment {live['deploymentId']}, variables {live['variables']}")
    say(f"users come to {stack.url}")
    say("(the emulated gateway publishes no metrics, other than the real one: the statuses that")
    say(" users receive become AWS/ApiGateway metric data here)")
    say("nobody records release 1 as good: one sweep notes it, and a later one finds that it served")
    say("with quiet alarms for its bake time (30 s here, 30 minutes by default)")
    reports.until("release 1 to be known-good", earned, TWO_SWEEPS)
    return live["deploymentId"]


def show(stack, reports, good, recovery, say):
    """Prints the report and the times. Returns the exit status."""
    if recovery.alarm is None:
        say(f"FAILED: the alarm {ALARM} did not fire within {PATIENCE} s")
        return 1
    if recovery.healthy is None:
        say(f"FAILED: users were not served again within {PATIENCE} s of the alarm")
        return 1
    report = reports.until("the report of the rollback", rolled_back, PATIENCE)
    print(json.dumps(report, indent=2), flush=True)
    live = stack.stage()
    if live["deploymentId"] != good:
        say(f"FAILED: the stage is on deployment {live['deploymentId']}, not on {good}")
        return 1
    say("the incident stays open until the alarm is OK again, when the errors are out of its period")
    reports.until("the alarm to be OK again", recovered, ALARM_IS_OVER)
    recovery.mark("over", f"the alarm {ALARM} is OK again, and the incident is closed")
    say(f"from the alarm to the stage back: {recovery.after_alarm('stage_back')}; "
        f"to {counted([stack.request() for _ in range(20)])}: {recovery.after_alarm('healthy')}")
    return 0


def picture(answers, proven, deployed, recovery):
    """Draws what users got, the whole story above and the rollback below. Returns the file."""
    zero = min(at for at, status in answers if status >= 500)
    turn = [
        (recovery.alarm, "alarm fires"),
        (recovery.stage_back, "stage is back"),
        (recovery.healthy, f"{HEALTHY_IN_A_ROW} good answers in a row"),
    ]
    whole = [
        (proven, "release 1 is known-good; release 2 is deployed, users wait"),
        (deployed, "release 2 is live"),
        (recovery.stage_back, "rolled back"),
        (recovery.over, "alarm is OK again"),
    ]
    begin, end = min(answers)[0] - zero, max(answers)[0] - zero
    near = (deployed, "release 2 is live, users come")
    return draw(ROOT / "target" / "demo.svg", "A bad release, an alarm, and the way back", [
        Panel("The whole story", answers, whole, zero, (begin, end), 2.0),
        Panel("The rollback", answers, [near, *turn], zero, (-3, 9), 0.5),
    ])


if __name__ == "__main__":
    sys.exit(main())
