"""`make attacks`: plays what an attacker can do from one foothold on the real function, against an emulator.

    attacks.py BINARY [PART OF A STORY'S SENTENCE]
"""

import json
import sys
import time

from harness import World, run
from attack_stories import ALL
from world import now, stamp


class Attack(World):
    """The emulated world of an attack. A healthy release is live, and an older one is known-good."""

    def play(self):
        """Plays the attack. Returns what is wrong at its end, or an empty text."""
        story = self.story
        for api in self.apis:
            recorded = self.function.invoke({"command": "record", **api.command})
            if not recorded or recorded.get("outcome") != "recorded":
                return f"the good release is not recorded: {recorded}"
            api.deploy(api.bad, "2")
            if story.alias:
                api.move_alias("2")
        # API Gateway's times are whole seconds: an alarm must be visibly later than the change.
        time.sleep(1.1)
        if story.foothold:
            story.foothold(self)
        self.before = self.parameters()
        self.proxy.arm([])
        self.began = time.monotonic()
        self.answers, self.calls = [], []
        for event in story.events(self):
            self.answers.append(self.function.invoke(event))
            self.calls += self.proxy.calls
            self.proxy.arm([])
        self.took = time.monotonic() - self.began
        self.answer, self.ended = self.answers, self.apis[0].live()
        return self.wrong()

    def wrong(self):
        story = self.story
        if self.ended != story.live:
            return f"the stage serves {self.ended}, not {story.live}"
        if None in self.answers:
            return "the function died"
        if story.reason not in json.dumps(self.answers):
            return f"no answer has the reason {story.reason}"
        told = len(self.published())
        if not story.told[0] <= told <= story.told[1]:
            return f"told {told} times, not {story.told}: {self.subjects()}"
        stored = sorted(set(self.parameters()) - set(self.before))
        # What people were told of has a mark and a count, so that they are not told again.
        stored = [name for name in stored if "/told/" not in name]
        if story.stores_nothing and stored:
            return f"stored {stored}"
        return story.also(self) if story.also else ""

    def put_alarm(self, name, actions, metric, description="", state="ALARM"):
        """Creates an alarm on one metric and sets its state. Returns its name."""
        namespace, metric_name, dimensions = metric
        cloudwatch = self.client("cloudwatch")
        cloudwatch.put_metric_alarm(
            AlarmName=name, AlarmDescription=description, Namespace=namespace, MetricName=metric_name,
            Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1, AlarmActions=actions,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching")
        self.set_state(name, state)
        return name

    def put_composite(self, name, rule, actions, description=""):
        cloudwatch = self.client("cloudwatch")
        cloudwatch.put_composite_alarm(
            AlarmName=name, AlarmRule=rule, AlarmActions=actions, AlarmDescription=description, ActionsEnabled=True)
        self.set_state(name, "ALARM")
        return name

    def set_state(self, name, state, reason="Threshold Crossed: 1 datapoint was greater than the threshold."):
        at = now()
        data = json.dumps({"version": "1.0", "queryDate": stamp(at), "startDate": stamp(at), "statistic": "Sum",
                           "period": 60, "recentDatapoints": [42.0], "threshold": 1.0})
        self.client("cloudwatch").set_alarm_state(
            AlarmName=name, StateValue=state, StateReason=reason, StateReasonData=data)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], ALL, Attack))
