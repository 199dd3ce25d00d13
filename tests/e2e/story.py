"""The story both the demo and the end-to-end test play: users, metrics, sweeps, the alarm, the way back."""

import contextlib
import json
import threading
import time

from stack import STACK_NAME, STAGE_NAME, StepFailed

ALARM = f"{STACK_NAME}-stage-errors"
HEALTHY_IN_A_ROW = 10
PATIENCE = 60
# The stack sweeps once a minute, and the emulator looks at its schedules every ten seconds.
TWO_SWEEPS = 150
# Bad data counts for one alarm period of a minute; then the good traffic is alone.
ALARM_IS_OVER = 120


class Users:
    """Sends real HTTP requests to the sample API, all the time, and makes metric data of the answers.

    API Gateway publishes `AWS/ApiGateway` metrics by itself; the emulated one does not, so its part
    is played here, from the statuses that were really received. The emulator evaluates alarms as
    data arrives, so the stream of data is also what lets an alarm become OK again.
    """

    AT_ONCE = 5
    PAUSE = 0.4

    def __init__(self, stack):
        self.stack = stack
        self.cloudwatch = stack.client("cloudwatch")
        self.latest = []
        # When each answer came, and its status.
        self.seen = []
        self.healthy_in_a_row = 0
        self.published_at = time.monotonic()
        self._failure = None
        self._over = threading.Event()
        # Held by whoever sends, or keeps the users from sending.
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._come_and_go, name="users", daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exception):
        self._over.set()
        self._thread.join(30)

    @contextlib.contextmanager
    def away(self):
        """Nobody sends meanwhile. What is awaited afterwards is then seen from its beginning."""
        with self._turn:
            yield

    def answers(self):
        """The latest answers, in words."""
        if self._failure:
            raise StepFailed(f"users got no answer: {self._failure}") from self._failure
        return counted(self.latest)

    def alarm_state(self):
        alarms = self.cloudwatch.describe_alarms(AlarmNames=[ALARM])["MetricAlarms"]
        if not alarms:
            raise StepFailed(f"the stack has no alarm `{ALARM}`; look at template.yaml")
        return alarms[0]["StateValue"]

    def _come_and_go(self):
        try:
            while not self._over.wait(self.PAUSE):
                with self._turn:
                    self._send()
        except Exception as failure:  # told by the main thread, which asks for the answers
            self._failure = failure

    def _send(self):
        statuses = [self._request() for _ in range(self.AT_ONCE)]
        self.healthy_in_a_row = 0 if max(statuses) >= 500 else self.healthy_in_a_row + len(statuses)
        self.latest = statuses
        self.published_at = time.monotonic()
        self._publish(statuses)

    def _request(self):
        status = self.stack.request()
        self.seen.append((time.monotonic(), status))
        return status

    def _publish(self, statuses):
        dimensions = [
            {"Name": "ApiName", "Value": f"{STACK_NAME}-sample"},
            {"Name": "Stage", "Value": STAGE_NAME},
        ]
        errors = [1.0 if status >= 500 else 0.0 for status in statuses]
        self.cloudwatch.put_metric_data(
            Namespace="AWS/ApiGateway",
            MetricData=[
                {"MetricName": "5XXError", "Dimensions": dimensions, "Values": errors, "Unit": "Count"},
                {"MetricName": "Count", "Dimensions": dimensions, "Values": [1.0] * len(statuses),
                 "Unit": "Count"},
            ],
        )


class Reports:
    """The function's reports, read from its log and told as they come."""

    def __init__(self, stack, users, say):
        self._stack = stack
        self._users = users
        self._say = say
        self._told = set()
        self._waiting = []

    def all(self):
        """Every report so far, whole."""
        return [json.loads(line["report"]) for line in self._stack.reports()]

    def skip(self):
        """From here on `until` waits for reports that are still to come."""
        self._tell_new()
        self._waiting.clear()

    def until(self, what, wanted, patience):
        """Waits for a report that `wanted` accepts, among those after the one it returned last."""
        started = shown = time.monotonic()
        while True:
            self._tell_new()
            while self._waiting:
                report = self._waiting.pop(0)
                if wanted(report):
                    return report
            now = time.monotonic()
            if now - started > patience:
                raise StepFailed(f"waited {patience} s in vain for {what}")
            if now - shown >= 15:
                shown = now
                self._say(
                    f"    {now - started:.0f} s so far for {what}; users get {self._users.answers()}; "
                    f"the alarm is {self._users.alarm_state()}"
                )
            time.sleep(0.5)

    def _tell_new(self):
        for report in self.all():
            if key(report) not in self._told:
                self._told.add(key(report))
                self._waiting.append(report)
                self._say(f"    the function reports: {in_words(report)}")


class Recovery:
    """The moments from the first error to an alarm that is OK again; `None` where one did not come."""

    def __init__(self, say):
        self._say = say
        self.first_error = None
        self.alarm = None
        self.stage_back = None
        self.healthy = None
        self.over = None

    def mark(self, moment, text, at=None):
        """Notes and tells a moment, the first time it is seen."""
        if getattr(self, moment) is None:
            setattr(self, moment, at or time.monotonic())
            self._say(text)

    def after_alarm(self, moment):
        return f"{getattr(self, moment) - self.alarm:.1f} s"


def watch_until_healthy(stack, users, good, say):
    """Watches until the alarm fired, the stage is back and the traffic is healthy again.

    `good` is the deployment to come back to. Gives up after PATIENCE seconds without an alarm, or
    PATIENCE seconds after it.
    """
    recovery = Recovery(say)
    started = shown = time.monotonic()
    while time.monotonic() - (recovery.alarm or started) < PATIENCE:
        answers = users.answers()
        if users.healthy_in_a_row == 0:
            recovery.mark("first_error", f"users see errors: {answers}")
        if recovery.alarm is None and users.alarm_state() == "ALARM":
            # The moment the data went in: the emulator evaluates an alarm as data arrives.
            recovery.mark("alarm", f"the alarm {ALARM} fires", at=users.published_at)
        if recovery.alarm and stack.stage()["deploymentId"] == good:
            recovery.mark("stage_back", f"the stage is back on deployment {good}")
        if recovery.stage_back and users.healthy_in_a_row >= HEALTHY_IN_A_ROW:
            recovery.mark("healthy", f"users are served again: {answers}")
            break
        if time.monotonic() - shown >= 5:
            shown = time.monotonic()
            say(f"    users get {answers}; the alarm is {users.alarm_state()}")
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
    """Tells one report from another: a run may report on several stages, and then on itself."""
    return (report["run"], report["at"], report["outcome"], json.dumps(report["stage"]))


def in_words(report):
    """A report in one line; of a sweep, how each stage stands."""
    states = [each["state"] for each in report["details"] or []] if swept(report) else []
    why = f", {report['reason']}" if report["reason"] else ""
    message = "; ".join(states) or report["message"]
    return f"{report['outcome']}{why} (by {report['signal']['kind']}): {message}"


def counted(statuses):
    """`[200, 200, 500]` as `2 x 200, 1 x 500`."""
    return ", ".join(f"{statuses.count(each)} x {each}" for each in sorted(set(statuses))) or "nothing yet"


def wait_for(what, probe, patience=30):
    """The first truthy answer of `probe`, asked again and again."""
    deadline = time.monotonic() + patience
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise StepFailed(f"waited {patience} s in vain for {what}")
        time.sleep(0.2)
