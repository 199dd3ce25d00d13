"""The metrics that the users' requests make on AWS: those of the access log, and API Gateway's own. The emulator makes none."""

import contextlib
import datetime
import json
import re
import time
from typing import NamedTuple

from stack import STACK_NAME, STAGE_NAME, StepFailed

AT_ONCE, BY_THE_MINUTE, PAUSED = "at once", "by the minute", "paused"
# A minute's metric arrives 20 to 60 s after the end of the minute.
LATE = 30


class Answer(NamedTuple):
    """The answer to a request: when the request began, in seconds; the deployment, the status, the latency in ms, and whether
    the stage's canary answered."""

    at: float
    deployment: str
    status: int
    latency: int
    by_canary: bool = False


class AccessLog:
    """The access log of the sample's stage, in the stage's own format and log group.

    API Gateway writes a line for each request, and CloudWatch Logs extracts the metrics from it. The emulator does neither.
    So this class completes the format as API Gateway does, writes the line, and publishes the values that the line's own
    metadata names.
    """

    def __init__(self, stack, group_end=""):
        """Opens the stage's log group; `/Canary` at the end of its name is the group of the canary's lines."""
        setting = stack.stage().get("accessLogSettings") or {}
        if not setting:
            raise StepFailed("the stage has no access log; deploy the stack with FastDetection=on")
        self.format = setting["format"]
        self.group = setting["destinationArn"].split(":log-group:")[1].removesuffix(":*") + group_end
        self._api = stack.api
        self._logs = stack.client("logs")
        self._cloudwatch = stack.client("cloudwatch")
        self._stream = "users"
        with contextlib.suppress(self._logs.exceptions.ResourceAlreadyExistsException):
            self._logs.create_log_stream(logGroupName=self.group, logStreamName=self._stream)

    def write(self, answers):
        """Writes the lines, and makes their metrics readable."""
        lines = [self._line(answer) for answer in answers]
        self._logs.put_log_events(
            logGroupName=self.group, logStreamName=self._stream,
            logEvents=[{"timestamp": int(answer.at * 1000), "message": line} for answer, line in zip(answers, lines)])
        published = {}
        for line in lines:
            for namespace, datum in extracted(line):
                published.setdefault(namespace, []).append(datum)
        for namespace, data in published.items():
            self._cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)

    def lines(self):
        """Returns all lines of the log group, each as its document."""
        pages = self._logs.get_paginator("filter_log_events").paginate(logGroupName=self.group)
        return [json.loads(event["message"]) for page in pages for event in page["events"]]

    def _line(self, answer):
        values = {
            "requestTimeEpoch": int(answer.at * 1000), "apiId": self._api, "stage": STAGE_NAME,
            "deploymentId": answer.deployment, "status": answer.status, "responseLatency": answer.latency,
        }
        # API Gateway writes `-` for a value that it does not have.
        return re.sub(r"\$context\.(\w+)", lambda variable: str(values.get(variable[1], "-")), self.format)


def extracted(line):
    """Returns the values that the embedded metric format names in a line, each with its namespace, as PutMetricData takes them."""
    document = json.loads(line)
    at = datetime.datetime.fromtimestamp(document["_aws"]["Timestamp"] / 1000, datetime.timezone.utc)
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = [{"Name": name, "Value": document[name]} for name in names]
            for metric in directive["Metrics"]:
                yield directive["Namespace"], {
                    "MetricName": metric["Name"], "Dimensions": dimensions, "Timestamp": at,
                    "Value": document[metric["Name"]], "Unit": metric.get("Unit", "None"),
                    "StorageResolution": metric.get("StorageResolution", 60)}


class OwnMetrics:
    """API Gateway's own metrics, which watch no deployment: once a minute as on AWS, at once, or not at all.

    The emulator evaluates an alarm on one metric only when data arrives.
    """

    def __init__(self, stack):
        self._cloudwatch = stack.client("cloudwatch")
        self._minutes = {}
        self.pace = AT_ONCE
        self.published_at = time.monotonic()

    def add(self, answers):
        """Publishes what is due of these answers and of earlier ones."""
        if self.pace == PAUSED:
            return
        for answer in answers:
            self._minutes.setdefault(answer.at // 60 * 60, []).append(answer.status)
        now = time.time()
        for minute in sorted(self._minutes):
            if self.pace == AT_ONCE:
                self._publish(now, self._minutes.pop(minute))
            elif minute + 60 + LATE <= now:
                self._publish(minute, self._minutes.pop(minute))

    def _publish(self, at, statuses):
        dimensions = [{"Name": "ApiName", "Value": f"{STACK_NAME}-sample"}, {"Name": "Stage", "Value": STAGE_NAME}]
        at = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
        bad = sum(status >= 500 for status in statuses)
        errors = [(value, count) for value, count in ((1.0, bad), (0.0, len(statuses) - bad)) if count]
        self.published_at = time.monotonic()
        self._cloudwatch.put_metric_data(Namespace="AWS/ApiGateway", MetricData=[
            {"MetricName": "5XXError", "Dimensions": dimensions, "Timestamp": at, "Unit": "Count",
             "Values": [value for value, _ in errors], "Counts": [count for _, count in errors]},
            {"MetricName": "Count", "Dimensions": dimensions, "Timestamp": at, "Unit": "Count",
             "Values": [1.0], "Counts": [len(statuses)]},
        ])
