"""The story both the demo and the end-to-end test play: users, metrics, the alarm, the way back."""

import time

from stack import STACK_NAME, STAGE_NAME, StepFailed

ALARM = f"{STACK_NAME}-stage-errors"
HEALTHY_IN_A_ROW = 10
PATIENCE = 60


class Users:
    """Sends real HTTP requests to the sample API and makes metric data of the answers.

    API Gateway publishes `AWS/ApiGateway` metrics by itself; the emulated one does not, so its part
    is played here, from the statuses that were really received.
    """

    def __init__(self, stack):
        self.stack = stack
        self.cloudwatch = stack.client("cloudwatch")
        self.api_name = f"{STACK_NAME}-sample"

    def send(self, count, publish=True):
        statuses = [self.stack.request() for _ in range(count)]
        if publish:
            self.publish(statuses)
        return statuses

    def publish(self, statuses):
        dimensions = [
            {"Name": "ApiName", "Value": self.api_name},
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

    def alarm_state(self):
        alarms = self.cloudwatch.describe_alarms(AlarmNames=[ALARM])["MetricAlarms"]
        if not alarms:
            raise StepFailed(f"the stack has no alarm `{ALARM}`; look at template.yaml")
        return alarms[0]["StateValue"]


class Recovery:
    """The moments between the first error and healthy traffic; `None` where one did not come."""

    def __init__(self, say):
        self._say = say
        self.first_error = None
        self.alarm = None
        self.stage_back = None
        self.healthy = None

    def mark(self, moment, text, at=None):
        """Notes and tells a moment, the first time it is seen."""
        if getattr(self, moment) is None:
            setattr(self, moment, at or time.monotonic())
            self._say(text)

    def after_alarm(self, moment):
        return f"{getattr(self, moment) - self.alarm:.1f} s"


def live_until_healthy(stack, users, good, say):
    """Sends traffic until the alarm fired, the stage is back and the traffic is healthy again.

    `good` is the deployment to come back to. Gives up after PATIENCE seconds without an alarm, or
    PATIENCE seconds after it.
    """
    recovery, in_a_row = Recovery(say), 0
    started = shown = time.monotonic()
    while time.monotonic() - (recovery.alarm or started) < PATIENCE:
        statuses = users.send(5, publish=False)
        if max(statuses) >= 500:
            in_a_row = 0
            recovery.mark("first_error", f"users see errors: {counted(statuses)}")
        else:
            in_a_row += len(statuses)
        if recovery.alarm and stack.stage()["deploymentId"] == good:
            recovery.mark("stage_back", f"the stage is back on deployment {good}")
        if recovery.alarm and in_a_row >= HEALTHY_IN_A_ROW:
            recovery.mark("healthy", f"users are served again: {counted(statuses)}")
            break
        if recovery.alarm is None:
            # The moment before the data goes in: the emulator evaluates an alarm as data arrives.
            before = time.monotonic()
            users.publish(statuses)
            if users.alarm_state() == "ALARM":
                recovery.mark("alarm", f"the alarm {ALARM} fires", at=before)
        if time.monotonic() - shown >= 5:
            shown = time.monotonic()
            say(f"    last answers: {counted(statuses)}; alarm: {users.alarm_state()}")
        time.sleep(0.2)
    return recovery


def counted(statuses):
    """`[200, 200, 500]` as `2 x 200, 1 x 500`."""
    return ", ".join(f"{statuses.count(each)} x {each}" for each in sorted(set(statuses)))


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
