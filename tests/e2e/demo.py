"""`make demo`: a release becomes known-good, a bad one is deployed, the fast alarm fires, its requests convict the release,
and the stage is rolled back. The alarm on API Gateway's own metrics comes a minute later."""

import json
import os
import sys
import time

from metrics import BY_THE_MINUTE
from picture import Panel, draw
from stack import ROOT, Stack, StepFailed, Timeline, stop_on_signals
from story import (
    ALARM, ALARM_IS_OVER, HEALTHY_IN_A_ROW, PATIENCE, TWO_SWEEPS, Reports, Users, counted, earned,
    recovered, rolled_back, wait_for, watch_until_healthy,
)
from watch import FAST_ALARM, Watch

# The minute of the errors ends, its metric arrives half a minute later, or the one of the next minute.
SLOW_ALARM_COMES = 180


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
    # With two periods of a minute, the emulator's alarm on the minute evaluates one minute, half a minute after its end.
    settings = {"AlarmEvaluationPeriods": 2}
    stack.deploy(release=1, **settings)
    with Users(stack) as users, Watch(stack) as watch:
        reports = Reports(stack, users, say)
        good = release_one(stack, users, reports, say)
        proven = time.monotonic()
        say("from now on API Gateway's own metrics come once a minute, half a minute after its end, as on AWS")
        users.own_metrics.pace = BY_THE_MINUTE
        with users.away():
            stack.deploy(release=2, **settings)
        deployed = time.monotonic()
        live = stack.stage()
        say(f"release 2 is live: deployment {live['deploymentId']}, variables {live['variables']}")
        recovery = watch_until_healthy(stack, users, watch, good, say)
        status = show(stack, users, watch, reports, good, recovery, say)
        if status == 0:
            say(f"the timeline as a picture: {picture(users.seen, proven, deployed, recovery)}")
        return status


def release_one(stack, users, reports, say):
    """Waits until the sweep promotes release 1 without an operator. Returns its deployment."""
    live = stack.stage()
    say(f"release 1 is live: deployment {live['deploymentId']}, variables {live['variables']}")
    say(f"users send requests to {stack.url}")
    say(f"each answer becomes a line of the stage's access log, in the log group {users.access_log.group}")
    say("(the emulator writes no access log, extracts no metrics from it, and publishes none of API Gateway's: the demo")
    say(" does all three. It also evaluates the alarms of fast detection, every 10 s and on the emulator's metrics,")
    say(" because the emulator has no metric math. What the requests prove, the function decides itself)")
    say("no operator records release 1: one sweep notes it as the candidate, and a later sweep promotes it,")
    say("once its alarms were quiet for the bake time (30 s here, 30 minutes by default)")
    # EventBridge Scheduler begins at once. The emulator waits for the first interval, so the demo makes the first sweep.
    stack.invoke({"command": "sweep"})
    reports.until("release 1 to be known-good", earned, TWO_SWEEPS)
    return live["deploymentId"]


def show(stack, users, watch, reports, good, recovery, say):
    """Prints the rollback's report and the times. Returns the exit status."""
    if recovery.alarm is None:
        say(f"FAILED: the alarm {FAST_ALARM} did not fire within {PATIENCE} s")
        return 1
    if recovery.healthy is None:
        say(f"FAILED: users still got errors {PATIENCE} s after the alarm")
        return 1
    report = reports.until("the report of the rollback", rolled_back, PATIENCE)
    print(json.dumps(report, indent=2), flush=True)
    test = report.get("test") or {}
    if (report["signal"]["name"], test.get("verdict")) != (FAST_ALARM, "convicted"):
        say(f"FAILED: the fast alarm did not lead to a conviction: {report['signal']['name']}, {test}")
        return 1
    live = stack.stage()
    if live["deploymentId"] != good:
        say(f"FAILED: the stage serves deployment {live['deploymentId']}, not {good}")
        return 1
    say(f"why: {test['bad']} of {test['requests']} requests of deployment {test['deployment']} failed; "
        f"tolerated {test['tolerated']:.0%}; at most one of 10^{test['log10_e_value']:.0f} innocent releases would look like this")
    say("the incident stays open until the errors leave the fast alarm's minute; API Gateway's own metric is still to come")
    wait_for("both alarms", lambda: aftermath(users, watch, reports, recovery), SLOW_ALARM_COMES)
    reports.until("the function to close the incident", recovered, ALARM_IS_OVER)
    say(f"from the first error to the rolled-back stage: {recovery.between('first_error', 'stage_back')}, of which "
        f"{recovery.between('alarm', 'stage_back')} after the fast alarm; "
        f"to {counted([stack.request() for _ in range(20)])}: {recovery.between('first_error', 'healthy')}")
    say(f"the alarm on the minute came {recovery.between('stage_back', 'slow_alarm')} after the stage was rolled back")
    return 0


def aftermath(users, watch, reports, recovery):
    """Notes when the alarm on API Gateway's own metrics fires for the errors of the past minute, and when the fast alarm is OK.
    Returns whether both came."""
    reports.show()
    if users.alarm_state() == "ALARM":
        recovery.mark("slow_alarm", f"only now the alarm on the minute, {ALARM}, fires", at=users.own_metrics.published_at)
    if watch.state() == "OK":
        recovery.mark("over", f"the alarm {FAST_ALARM} is OK again")
    return recovery.slow_alarm and recovery.over


def picture(answers, proven, deployed, recovery):
    """Draws the answers that users got: the whole demo above, the rollback below. Returns the file."""
    zero = min(at for at, status in answers if status >= 500)
    turn = [
        (recovery.alarm, "fast alarm fires"),
        (recovery.stage_back, "release 2 is convicted, stage is rolled back"),
        (recovery.healthy, f"{HEALTHY_IN_A_ROW} good answers in a row"),
    ]
    slow = (recovery.slow_alarm, "alarm on the minute fires")
    whole = [
        (proven, "release 1 is known-good; release 2 is deployed, users pause"),
        (deployed, "release 2 is live"),
        (recovery.stage_back, "rolled back"),
        slow,
        (recovery.over, "fast alarm is OK again"),
    ]
    begin, end = min(answers)[0] - zero, max(answers)[0] - zero
    near = (deployed, "release 2 is live, users resume")
    return draw(ROOT / "target" / "demo.svg", "A bad release, a fast alarm, and the rollback", [
        Panel("The whole demo", answers, whole, zero, (begin, end), 2.0),
        Panel("The rollback, and the alarm on the minute", answers, [near, *turn, slow], zero,
              (-3, recovery.slow_alarm - zero + 5), 1.0),
    ])


if __name__ == "__main__":
    sys.exit(main())
