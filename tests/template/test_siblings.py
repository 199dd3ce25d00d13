"""What one Region found bad reaches the buses of the others, and nothing comes back."""

import json
import unittest

from policy import of_role
from stack import ACCOUNT, NAME, REGION, ROOT, Stack, translated

OTHERS = ["us-east-1", "ap-south-1", "eu-central-1"]


def bus(region, name="default"):
    return f"arn:aws:events:{region}:{ACCOUNT}:event-bus/{name}"


def matches(pattern, event):
    """EventBridge's matching, as far as the rules use it: exact values, `anything-but`, and objects."""
    if isinstance(pattern, dict):
        return isinstance(event, dict) and all(name in event and matches(one, event[name]) for name, one in pattern.items())
    wanted = [one for one in pattern if not isinstance(one, dict)]
    others = [one["anything-but"] for one in pattern if isinstance(one, dict)]
    return event in wanted or any(event not in one for one in others)


class Siblings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.template = translated()
        cls.event = json.loads((ROOT / "events/eventbridge-sibling.json").read_text())

    def stack(self, siblings, **more):
        return Stack({"Siblings": siblings, **more}, self.template)

    def test_the_rule_and_its_role_reach_exactly_the_buses_of_the_other_regions(self):
        for listed, expected in [
            (OTHERS[:1], OTHERS[:1]),
            (OTHERS, OTHERS),
            ([REGION, *OTHERS], OTHERS),
            ([*OTHERS, REGION], OTHERS),
            ([OTHERS[0], REGION], OTHERS[:1]),
        ]:
            for name in ("", "releases"):
                stack = self.stack(",".join(listed), EventBus=name)
                buses = [bus(region, name or "default") for region in expected]
                rule = stack.resource("TellSiblings")["Properties"]
                self.assertEqual([one["Arn"] for one in rule["Targets"]], buses)
                self.assertEqual(len({one["Id"] for one in rule["Targets"]}), len(buses))
                (statement,) = of_role(stack, "SiblingsRole")
                self.assertEqual(statement.pairs(), [("events:PutEvents", one) for one in buses])
                self.assertEqual(rule["EventBusName"], name or "default")
                function = stack.resource("RollbackFunction")["Properties"]["Environment"]["Variables"]
                self.assertEqual((function["EVENT_BUS"], function["SIBLINGS"]), (name or "default", ",".join(listed)))

    def test_without_another_region_there_is_nothing(self):
        for siblings in ("", REGION):
            stack = self.stack(siblings)
            there = [name for name in self.template["Resources"] if "Sibling" in name and stack.is_there(name)]
            self.assertEqual(there, [])
            function = stack.resource("RollbackFunction")["Properties"]["Environment"]["Variables"]
            self.assertEqual(function["EVENT_BUS"], "")

    def test_only_rules_of_this_account_assume_the_role(self):
        role = self.stack("us-east-1").resource("SiblingsRole")["Properties"]
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual(trust["Principal"], {"Service": "events.amazonaws.com"})
        self.assertEqual(
            trust["Condition"],
            {
                "StringEquals": {"aws:SourceAccount": ACCOUNT},
                "ArnLike": {"aws:SourceArn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/*"},
            },
        )

    def test_a_message_that_cannot_be_delivered_goes_to_the_queue_that_has_an_alarm(self):
        stack = self.stack("us-east-1")
        for rule in ("TellSiblings", "HearSiblings"):
            for target in stack.resource(rule)["Properties"]["Targets"]:
                self.assertEqual(target["DeadLetterConfig"], {"Arn": stack.att("DeadLetterQueue", "Arn")})

    def test_each_rule_takes_its_own_events_and_no_others(self):
        stack = self.stack(f"{REGION},us-east-1")
        tells, hears = (stack.resource(name)["Properties"]["EventPattern"] for name in ("TellSiblings", "HearSiblings"))
        bad = self.event["detail"]["bad"] | {"function": NAME}
        theirs = self.event | {"account": ACCOUNT, "detail": self.event["detail"] | {"bad": bad}}
        ours = theirs | {"region": REGION, "detail": theirs["detail"] | {"bad": bad | {"region": REGION}}}

        def of(event, **detail):
            return event | {"detail": event["detail"] | detail}

        without = {name: one for name, one in ours["detail"].items() if name != "bad"}
        for case, event, told, heard in [
            ("our own finding", ours, True, False),
            ("their finding", theirs, False, True),
            ("an aborted rollout of ours", of(ours, outcome="rollout-aborted"), True, False),
            ("another report of ours", of(ours, outcome="held"), False, False),
            ("a report that a sibling led to", ours | {"detail": without}, False, False),
            ("their finding, which we would pass on", theirs | {"region": REGION}, False, True),
            ("our finding, which comes back", ours | {"region": "us-east-1"}, False, False),
            ("a Region that is not listed", theirs | {"region": "sa-east-1"}, False, False),
            ("another account", theirs | {"account": "999999999999"}, False, False),
            ("another source", theirs | {"source": "com.example"}, False, False),
            ("another function", of(theirs, bad=bad | {"function": "other"}), False, False),
            ("another function of ours", of(ours, bad=ours["detail"]["bad"] | {"function": "other"}), False, False),
        ]:
            with self.subTest(case):
                self.assertEqual((matches(tells, event), matches(hears, event)), (told, heard))


if __name__ == "__main__":
    unittest.main()
