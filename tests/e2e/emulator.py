"""Starts MiniStack with what the template and fast detection need and MiniStack 1.5.33 does not have:

- The statistics `TC` (trimmed count) and `PR` (percentile rank) between two values. For a statistic that it does not know,
  MiniStack answers with the average: the function would take the status code 200 for 200 failed requests.
- Alarms on metric math. Its CloudFormation refuses a template with one. Here it keeps such an alarm, with its metrics, as
  `DescribeAlarms` shows them on AWS, but does not evaluate it: `watch.py` does.
- The access log of a REST stage. Its CloudFormation drops the setting. Here the stage shows it, but nothing writes the log:
  `access_log.py` does.
- Events for other Regions. It delivers those that a rule forwards to a bus of the same Region only. Here the others are lines
  of a file, and one that comes from another Region is put on a bus as it is: `regions.py` carries them.
- Conditions about a part of a text: CloudFormation evaluates `Fn::Split` and `Fn::Sub` in them, MiniStack leaves them as they
  are.

All numbers that the function reads are those that were published to the emulator. The version of MiniStack is pinned, so
the places that this file extends cannot move.
"""

import json
import os
import re
import sys

from ministack.app import main
from ministack.services import cloudwatch, eventbridge
from ministack.services.cloudformation import changesets, engine, handlers, provisioners, stacks

BETWEEN = re.compile(r"(TC|PR)\(([0-9.]*):([0-9.]*)\)")


def between(samples, kind, low, high):
    """Counts the values above `low` and up to `high`: CloudWatch excludes the lower bound and includes the upper one. Returns
    their number (TC) or their percentage (PR)."""
    inside = sum(count for value, count in samples if (not low or value > float(low)) and (not high or value <= float(high)))
    return float(inside) if kind == "TC" else 100.0 * inside / sum(count for _, count in samples)


def with_counts(original):
    def stat_value(stats, name, points=None):
        wanted = BETWEEN.fullmatch(name or "")
        if not wanted:
            return original(stats, name, points)
        # `None` if only sums were published: CloudWatch has no such statistic then.
        samples = cloudwatch._percentile_samples(points or [])
        return between(samples, *wanted.groups()) if samples else None

    return stat_value


def with_metric_math(original):
    def record(name, properties):
        if not properties.get("Metrics"):
            return original(name, properties)
        unused = {"MetricName": "unused", "Namespace": "unused"}
        alarm = original(name, {key: value for key, value in properties.items() if key != "Metrics"} | unused)
        of_one_metric = ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Unit")
        alarm = {key: value for key, value in alarm.items() if key not in of_one_metric}
        return alarm | {"Dimensions": [], "Metrics": [query(each) for each in properties["Metrics"]]}

    return record


def query(given):
    """Returns a query of a template with the types of `DescribeAlarms`."""
    made = dict(given, ReturnData=str(given.get("ReturnData", True)).lower() == "true")
    if "MetricStat" in given:
        made["MetricStat"] = dict(given["MetricStat"], Period=int(given["MetricStat"]["Period"]))
    return made


def with_access_log(original, properties_at):
    def provision(*arguments):
        made = original(*arguments)
        properties = arguments[properties_at]
        stage = provisioners._apigw_v1._stages_v1[properties["RestApiId"]][properties["StageName"]]
        given = properties.get("AccessLogSetting") or {}
        names = {"DestinationArn": "destinationArn", "Format": "format"}
        stage["accessLogSettings"] = {names[key]: value for key, value in given.items()}
        return made

    return provision


def with_split_texts(original):
    def evaluate(template, params):
        conditions = split_texts(template.get("Conditions", {}), {name: one["Value"] for name, one in params.items()})
        return original(template | {"Conditions": conditions}, params)

    return evaluate


def split_texts(value, values):
    """Replaces `Fn::Sub` of parameters, and then `Fn::Split`, by what they stand for."""
    if isinstance(value, list):
        return [split_texts(each, values) for each in value]
    if not isinstance(value, dict):
        return value
    done = {key: split_texts(each, values) for key, each in value.items()}
    match done:
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{(\w+)\}", lambda name: str(values[name[1]]), text)
        case {"Fn::Split": [separator, str(text)]}:
            return text.split(separator)
    return done


def with_other_regions(original):
    def dispatch(bus, event, *others):
        if bus.region == eventbridge.get_region():
            return original(bus, event, *others)
        with open(os.environ["FORWARDED_EVENTS"], "a") as file:
            file.write(json.dumps({"region": bus.region, "bus": bus.resource.removeprefix("event-bus/"), "event": event}) + "\n")

    return dispatch


def with_carried_events(original):
    """EventBridge keeps the source, the account, the Region and the id of an event that a rule forwards."""
    def put(data, *others):
        entries = data.get("Entries", [])
        if not entries or entries[0].get("Source") != os.environ["CARRIER"]:
            return original(data, *others)
        eventbridge._dispatch_event(json.loads(entries[0]["Detail"]))
        return eventbridge.json_response({"FailedEntryCount": 0, "Entries": [{"EventId": "carried"}]})

    return put


def extend():
    evaluate = with_split_texts(engine._evaluate_conditions)
    for module in (engine, changesets, handlers, stacks):
        module._evaluate_conditions = evaluate
    cloudwatch._stat_value = with_counts(cloudwatch._stat_value)
    provisioners._cw_metric_alarm_record = with_metric_math(provisioners._cw_metric_alarm_record)
    eventbridge._dispatch_to_event_bus = with_other_regions(eventbridge._dispatch_to_event_bus)
    eventbridge._put_events = with_carried_events(eventbridge._put_events)
    stage = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::Stage"]
    stage["create"] = with_access_log(stage["create"], 1)
    stage["update"] = with_access_log(stage["update"], 2)


if __name__ == "__main__":
    extend()
    sys.exit(main())
