"""Evaluates the alarms of fast detection as CloudWatch does. The emulator evaluates no metric math."""

import datetime
import json
import math
import time

from repeated import Repeated
from stack import STACK_NAME, StepFailed

FAST_ALARM = f"{STACK_NAME}-stage-fast-errors"
# CloudWatch evaluates an alarm with a period of ten seconds every ten seconds, on the periods that have ended.
EVERY = 10
# The last lines of a period are written a moment after its end.
ARRIVES = 1


class Watch(Repeated):
    """Reads the stack's metric-math alarms and their metrics from the emulator every ten seconds, and sets their states.

    The expression, the threshold and the numbers of datapoints are those of the deployed alarms. The state is set with the
    reason and the datapoints that CloudWatch gives. The alarm's actions are up to the emulator.
    """

    def __init__(self, stack):
        super().__init__("the alarms could not be evaluated")
        self._cloudwatch = stack.client("cloudwatch")
        names = [name.strip() for name in stack.outputs["StageAlarms"].split(",")]
        found = self._cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
        self.alarms = [alarm for alarm in found if alarm.get("Metrics")]
        if FAST_ALARM not in [alarm["AlarmName"] for alarm in self.alarms]:
            raise StepFailed(f"the stack has no alarm `{FAST_ALARM}`; deploy it with FastDetection=on")
        self.is_paused = False

    def state(self, name=FAST_ALARM):
        self.check()
        return self._cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]

    def pause(self):
        return EVERY - (time.time() - ARRIVES) % EVERY

    def work(self):
        for alarm in [] if self.is_paused else self.alarms:
            self.evaluate(alarm, time.time())

    def evaluate(self, alarm, now):
        """Evaluates an alarm, and sets its state if it changes."""
        end = math.floor(now / EVERY) * EVERY
        points = self._datapoints(alarm, end - EVERY * alarm["EvaluationPeriods"], end)
        # These alarms compare by `GreaterThanThreshold`, and missing data does not breach.
        bad = {at: value for at, value in points.items() if value > alarm["Threshold"]}
        wanted = alarm["DatapointsToAlarm"]
        new = "ALARM" if len(bad) >= wanted else "OK"
        if new == self.state(alarm["AlarmName"]):
            return
        shown = bad if new == "ALARM" else points
        listed = ", ".join(f"{value} ({stamp(at, '%d/%m/%y %H:%M:%S')})" for at, value in shown.items())
        was = "was" if new == "ALARM" else "was not"
        self._cloudwatch.set_alarm_state(
            AlarmName=alarm["AlarmName"], StateValue=new,
            StateReason=f"Threshold Crossed: {len(shown)} out of the last {alarm['EvaluationPeriods']} datapoints [{listed}] "
                        f"{was} greater than the threshold ({alarm['Threshold']}) (minimum {wanted} datapoint for a change).",
            StateReasonData=json.dumps({
                "version": "1.0", "queryDate": stamp(now), "startDate": stamp(min(points, default=end)), "period": EVERY,
                "recentDatapoints": list(points.values()), "threshold": alarm["Threshold"],
                "evaluatedDatapoints": [{"timestamp": stamp(at), "value": points[at]} for at in sorted(points, reverse=True)],
            }))

    def _datapoints(self, alarm, begin, end):
        """Returns the values of the alarm's expression, by the beginning of their period. A period without data has none."""
        [expression] = [query["Expression"] for query in alarm["Metrics"] if "Expression" in query]
        queries = [
            {"Id": query["Id"], "MetricStat": query["MetricStat"]} for query in alarm["Metrics"] if "MetricStat" in query]
        answer = self._cloudwatch.get_metric_data(MetricDataQueries=queries, StartTime=begin, EndTime=end)
        read = {
            result["Id"]: {int(at.timestamp()): value for at, value in zip(result["Timestamps"], result["Values"])}
            for result in answer["MetricDataResults"]}
        times = set.intersection(*(set(values) for values in read.values()))
        return {at: calculated(expression, {name: values[at] for name, values in read.items()}) for at in sorted(times)}


def calculated(expression, values):
    """Calculates metric math. The template's expressions have only `IF`, comparisons and arithmetic, as Python has them."""
    functions = {"__builtins__": {}, "IF": lambda condition, true, false: true if condition else false}
    return float(eval(expression, functions, values))  # The expression is the template's own.


def stamp(seconds, form="%Y-%m-%dT%H:%M:%S.000+0000"):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime(form)
