"""The step for Region switch lets traffic move only to a Region that serves a known-good release."""

import io
import json
import sys
import unittest

from stack import ROOT

sys.path.insert(0, str(ROOT / "deploy/regions"))

from step import NotKnownGood, asked, serves_known_good  # noqa: E402

GOOD = {"deployment": "d1", "variables": {"release": "1"}, "aliases": {"orders:live": {"version": "1"}}}


def status(live, **more):
    record = {"release": GOOD, "label": "v1"}
    return {"live": live and {"release": live}, "known_good": {"version": 1, "record": record}, **more}


def heard(label, **more):
    return {"siblings": [{"bad": {"region": "us-east-1", "label": label}, "deed": "rolled-back", **more}]}


class Function:
    """Answers as Lambda does, and keeps what it was asked."""

    def __init__(self, report, error=None):
        self.report, self.error, self.asked = report, error, []

    def invoke(self, FunctionName, Payload):
        self.asked.append((FunctionName, json.loads(Payload)))
        more = {"FunctionError": self.error} if self.error else {}
        return {"Payload": io.BytesIO(json.dumps(self.report).encode()), **more}


class Step(unittest.TestCase):
    def test_only_a_stage_that_serves_its_known_good_release_passes(self):
        neighbour = GOOD | {"aliases": GOOD["aliases"] | {"web:live": {"version": "7"}}}
        for case, given, passes in [
            ("the known-good release", status(GOOD), True),
            ("with a component that the record does not name", status(neighbour), True),
            ("another deployment", status(GOOD | {"deployment": "d2"}), False),
            ("another variable", status(GOOD | {"variables": {}}), False),
            ("another version", status(GOOD | {"aliases": {"orders:live": {"version": "2"}}}), False),
            ("a canary", status(GOOD | {"canary": {"deployment": "d2", "percent": "5"}}), False),
            ("no stage", status(None), False),
            ("no record", {"live": {"release": GOOD}, "known_good": {"missing": "nothing is recorded yet"}}, False),
            ("another Region found it bad", status(GOOD, **heard("v1")), False),
            ("an operator cleared that", status(GOOD, **heard("v1", cleared=True)), True),
            ("another Region found another one bad", status(GOOD, **heard("v2")), True),
        ]:
            with self.subTest(case):
                if passes:
                    self.assertEqual(serves_known_good(given), "v1")
                else:
                    self.assertRaises(NotKnownGood, serves_known_good, given)

    def test_the_function_is_asked_for_the_status_and_an_unknown_one_does_not_pass(self):
        function = Function({"outcome": "status", "details": {"live": None}})
        self.assertEqual(asked(function, "f", "orders-api", "prod"), {"live": None})
        self.assertEqual(function.asked, [("f", {"command": "status", "stage": {"api": "orders-api", "name": "prod"}})])
        for broken in (
            Function({"outcome": "rejected", "message": "no such stage"}),
            Function({"errorMessage": "timed out"}, error="Unhandled"),
            Function({"outcome": "failed", "message": "throttled"}),
        ):
            self.assertRaises(NotKnownGood, asked, broken, "f", "orders-api", "prod")


if __name__ == "__main__":
    unittest.main()
