"""`make demo`: a bad release goes out, an alarm fires, the stage is back. See it happen."""

import json
import os
import sys

from stack import Stack, StepFailed, Timeline, stop_on_signals
from story import ALARM, PATIENCE, Users, counted, live_until_healthy, wait_for


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
    users = Users(stack)
    good = release_one(stack, users, say)
    stack.deploy(release=2)
    live = stack.stage()
    say(f"release 2 is live: deployment {live['deploymentId']}, variables {live['variables']}")
    say("(the emulated gateway publishes no metrics, other than the real one: the statuses that")
    say(" users receive become AWS/ApiGateway metric data here)")
    recovery = live_until_healthy(stack, users, good, say)
    return show(stack, good, recovery, say)


def release_one(stack, users, say):
    """Release 1 serves and is recorded as known-good. Returns its deployment."""
    live = stack.stage()
    say(f"release 1 is live: deployment {live['deploymentId']}, variables {live['variables']}")
    say(f"users at {stack.url} are served: {counted(users.send(20))}")
    report = stack.command("record", label="release 1", note="first release", who="make demo")
    if report["outcome"] != "recorded":
        raise StepFailed(f"release 1 was not recorded as known-good: {json.dumps(report)}")
    say(f"release 1 is recorded as known-good: {report['message']}")
    return live["deploymentId"]


def show(stack, good, recovery, say):
    """Prints the report and the times. Returns the exit status."""
    if recovery.alarm is None:
        say(f"FAILED: the alarm {ALARM} did not fire within {PATIENCE} s")
        return 1
    reports = wait_for(
        "the report of the alarm in the function's log",
        lambda: [line for line in stack.reports() if line.get("alarm") == ALARM],
    )
    say("the function's report:")
    print(json.dumps(json.loads(reports[-1]["report"]), indent=2), flush=True)
    if recovery.healthy is None:
        say(f"FAILED: users were not served again within {PATIENCE} s of the alarm")
        return 1
    live = stack.stage()
    if live["deploymentId"] != good:
        say(f"FAILED: the stage is on deployment {live['deploymentId']}, not on {good}")
        return 1
    say(f"from the alarm to the stage back: {recovery.after_alarm('stage_back')}; "
        f"to {counted([stack.request() for _ in range(20)])}: {recovery.after_alarm('healthy')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
