"""The scenario of the demo and the end-to-end test: users, metrics, sweeps, the alarm and the rollback."""

import contextlib
import json
import threading
import time

from metrics import AccessLog, Answer, OwnMetrics
from repeated import Repeated
from stack import STACK_NAME, StepFailed
from watch import FAST_ALARM

ALARM = f"{STACK_NAME}-stage-errors"
HEALTHY_IN_A_ROW = 10
PATIENCE = 60
# The sweep runs once a minute, and the emulator checks its schedules every ten seconds.
TWO_SWEEPS = 150
# Bad data counts for a minute, in each of the alarms; after that only good traffic counts.
ALARM_IS_OVER = 120


class Users(Repeated):
    """Sends real HTTP requests to the sample API all the time, and turns the answers into metrics.

    API Gateway publishes metrics of its own, and CloudWatch extracts others from the access log. The emulator does neither, so
    this class does both (metrics.py). The emulator evaluates an alarm only when data arrives, so an alarm also needs this
    traffic to become OK again.
    """

    AT_ONCE = 5
    PAUSE = 0.4

    def __init__(self, stack):
        super().__init__("users got no answer")
        self.stack = stack
        self.cloudwatch = stack.client("cloudwatch")
        self.access_log = AccessLog(stack)
        self.own_metrics = OwnMetrics(stack)
        self.latest = []
        # The time and status of each answer.
        self.seen = []
        self.healthy_in_a_row = 0
        self._deployment_of = {}
        # The thread that sends holds it; `away` holds it to stop the traffic.
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def away(self):
        """Pauses the traffic, so that a change during the pause is observed from its first request.

        The emulator's alarm fires at once, and its times are whole seconds, like API Gateway's: an alarm in the second of
        the change may be older than the change. So the traffic resumes in the next second.
        """
        with self._turn:
            yield
            time.sleep(1.1)

    def answers(self):
        """Returns the latest answers as text."""
        self.check()
        return counted(self.latest)

    def alarm_state(self, name=ALARM):
        alarms = self.cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        if not alarms:
            raise StepFailed(f"the stack has no alarm `{name}`; check template.yaml")
        return alarms[0]["StateValue"]

    def send(self, number):
        """Sends requests and writes their lines. Returns the answers."""
        self._note_deployment()
        asked = [(time.time(), time.monotonic(), self.stack.answer()) for _ in range(number)]
        self._note_deployment()
        ends = [began for _, began, _ in asked[1:]] + [time.monotonic()]
        answers = [
            Answer(at, self._deployment_of.get(release, "-"), status, int(1000 * (end - began)))
            for (at, began, (status, release)), end in zip(asked, ends)]
        self.seen.extend((began, status) for _, began, (status, _) in asked)
        self.access_log.write(answers)
        return answers

    def _note_deployment(self):
        """Notes which deployment the live release has. The emulator does not say which one answered a request, but the sample's
        backend answers with the release."""
        live = self.stack.stage()
        self._deployment_of[live["variables"]["release"]] = live["deploymentId"]

    def pause(self):
        return self.PAUSE

    def work(self):
        with self._turn:
            answers = self.send(self.AT_ONCE)
            self.latest = [answer.status for answer in answers]
            self.healthy_in_a_row = 0 if max(self.latest) >= 500 else self.healthy_in_a_row + len(answers)
            self.own_metrics.add(answers)


class Reports:
    """The function's reports, read from its log and printed as they arrive."""

    def __init__(self, stack, users, say):
        self._stack = stack
        self._users = users
        self._say = say
        self._printed = set()
        self._waiting = []

    def all(self):
        """Returns every report so far."""
        return [json.loads(line["report"]) for line in self._stack.reports()]

    def skip(self):
        """Discards the reports so far, so that `until` waits for new ones."""
        self.show()
        self._waiting.clear()

    def until(self, what, wanted, patience):
        """Returns the next report that `wanted` accepts, after the one that it returned last."""
        started = shown = time.monotonic()
        while True:
            self.show()
            while self._waiting:
                report = self._waiting.pop(0)
                if wanted(report):
                    return report
            now = time.monotonic()
            if now - started > patience:
                raise StepFailed(f"waited {patience} s for {what}, but it did not come")
            if now - shown >= 15:
                shown = now
                self._say(
                    f"    waited {now - started:.0f} s so far for {what}; users get {self._users.answers()}; "
                    f"the alarm on the minute is {self._users.alarm_state()}"
                )
            time.sleep(0.5)

    def show(self):
        """Prints the new reports."""
        for report in self.all():
            if key(report) not in self._printed:
                self._printed.add(key(report))
                self._waiting.append(report)
                self._say(f"    the function reports: {in_words(report)}")


class Recovery:
    """The times from the first error until the alarms are OK again; `None` for a moment that did not come."""

    def __init__(self, say):
        self._say = say
        self.first_error = None
        self.alarm = None
        self.stage_back = None
        self.healthy = None
        self.slow_alarm = None
        self.over = None

    def mark(self, moment, text, at=None):
        """Notes and prints a moment when it is first observed."""
        if getattr(self, moment) is None:
            setattr(self, moment, at or time.monotonic())
            self._say(text)

    def between(self, earlier, later):
        return f"{getattr(self, later) - getattr(self, earlier):.1f} s"


def watch_until_healthy(stack, users, watch, good, say):
    """Watches until the fast alarm fired, the stage is rolled back and the traffic is healthy again.

    `good` is the known-good deployment. Gives up after PATIENCE seconds without an alarm, or
    PATIENCE seconds after the alarm.
    """
    recovery = Recovery(say)
    started = shown = time.monotonic()
    while time.monotonic() - (recovery.alarm or started) < PATIENCE:
        answers = users.answers()
        if users.healthy_in_a_row == 0:
            recovery.mark("first_error", f"users see errors: {answers}")
        if recovery.alarm is None and watch.state() == "ALARM":
            recovery.mark("alarm", f"the alarm {FAST_ALARM} fires")
        if recovery.alarm and stack.stage()["deploymentId"] == good:
            recovery.mark("stage_back", f"the stage serves deployment {good} again")
        if recovery.stage_back and users.healthy_in_a_row >= HEALTHY_IN_A_ROW:
            recovery.mark("healthy", f"users get good answers again: {answers}")
            break
        if time.monotonic() - shown >= 5:
            shown = time.monotonic()
            say(f"    users get {answers}; the fast alarm is {watch.state()}")
        time.sleep(0.1)
    return recovery


def earned(report):
    return report["outcome"] == "promoted"


def swept(report):
    return report["outcome"] == "swept"


def recovered(report):
    return report["outcome"] == "recovered"


def rolled_back(report):
    return report["outcome"] == "rolled-back"


def key(report):
    """Returns the identity of a report: one run may report on several stages, and also on itself."""
    return (report["run"], report["at"], report["outcome"], json.dumps(report["stage"]))


def in_words(report):
    """Returns a report in one line; for a sweep, the state of each stage."""
    states = [each["state"] for each in report["details"] or []] if swept(report) else []
    why = f", {report['reason']}" if report["reason"] else ""
    message = "; ".join(states) or report["message"]
    return f"{report['outcome']}{why} (by {report['signal']['kind']}): {message}"


def counted(statuses):
    """Returns `[200, 200, 500]` as `2 x 200, 1 x 500`."""
    return ", ".join(f"{statuses.count(each)} x {each}" for each in sorted(set(statuses))) or "nothing yet"


def wait_for(what, probe, patience=30, every=0.2):
    """Calls `probe` every so many seconds until its answer is true, and returns the answer."""
    deadline = time.monotonic() + patience
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise StepFailed(f"waited {patience} s for {what}, but it did not come")
        time.sleep(every)
