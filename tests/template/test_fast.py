"""Fast detection: alarms on the metrics of the access log, and the access log of the sample API."""

import re
import unittest

from stack import ACCOUNT, IDS, NAME, REGION, Stack, source, translated

FAST = {"FastDetection": "on"}
OWN = {
    "REST": {"Protocol": "REST", "ApiId": "a1b2c3d4e5", "ApiName": "orders-api"},
    "HTTP": {"Protocol": "HTTP", "ApiId": "ju6maoy9o2", "StageName": "$default"},
    "WEBSOCKET": {"Protocol": "WEBSOCKET", "ApiId": "k7v2m9x1q4"},
}
SAMPLES = {"REST": {"Protocol": "REST"}, "HTTP": {"Protocol": "HTTP"}}
# The stack, and the fast alarms that it has.
STACKS = [
    ("off", OWN["REST"], set()),
    ("an own REST API", OWN["REST"] | FAST, {"FastErrorAlarm", "FastLatencyAlarm"}),
    ("an own HTTP API", OWN["HTTP"] | FAST, {"FastErrorAlarm", "FastLatencyAlarm"}),
    ("an own WebSocket API", OWN["WEBSOCKET"] | FAST, {"FastErrorAlarm"}),
    ("no latency threshold", OWN["REST"] | FAST | {"LatencyP99Threshold": "0"}, {"FastErrorAlarm"}),
    ("a plain average besides", OWN["REST"] | FAST | {"MinimumRequests": "0"}, {"FastErrorAlarm", "FastLatencyAlarm"}),
    ("the sample REST API", SAMPLES["REST"] | FAST, {"FastErrorAlarm", "FastLatencyAlarm"}),
    ("the sample HTTP API", SAMPLES["HTTP"] | FAST, {"FastErrorAlarm", "FastLatencyAlarm"}),
]
STAGES = {"REST": "AWS::ApiGateway::Stage", "HTTP": "AWS::ApiGatewayV2::Stage"}


class FastDetection(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.template = translated()

    def test_each_protocol_gets_its_alarms_and_all_name_the_stage_and_call_the_function(self):
        for story, values, expected in STACKS:
            stack = Stack(values, self.template)
            alarms = stack.resources("AWS::CloudWatch::Alarm")
            found = {name: alarm for name, alarm in alarms.items() if name.startswith("Fast")}
            self.assertEqual(set(found), expected, story)
            api = values.get("ApiId") or IDS["SampleApi" if values["Protocol"] == "REST" else "SampleHttpApi"]
            stage = values.get("StageName", "prod")
            topic = stack.att("AlarmTopic", "TopicArn")
            shown = stack.outputs()["StageAlarms"].split(", ")
            for name, alarm in found.items():
                with self.subTest(story=story, alarm=name):
                    self.assertTrue(alarm["AlarmDescription"].endswith(f" rollback-target: {api}/{stage}"))
                    self.assertEqual((alarm["AlarmActions"], alarm["OKActions"]), ([topic], [topic]))
                    # The permission for alarms that invoke the function directly is for this prefix.
                    self.assertTrue(alarm["AlarmName"].startswith(f"{NAME}-stage-"))
                    self.assertIn(alarm["AlarmName"], shown)
                    watched = [one["MetricStat"] for one in alarm["Metrics"] if "MetricStat" in one]
                    self.assertEqual({one["Period"] for one in watched}, {10})
                    metric = {
                        "Namespace": "apigw-rollback/access-log",
                        "MetricName": "Status" if name == "FastErrorAlarm" else "Latency",
                        "Dimensions": [{"Name": "ApiId", "Value": api}, {"Name": "Stage", "Value": stage}],
                    }
                    self.assertEqual([one["Metric"] for one in watched], [metric, metric])

    def test_the_alarms_compare_with_the_thresholds_and_minimums_of_the_stack(self):
        values = {"ErrorRateThreshold": "0.1", "MinimumRequests": "30", "MinimumErrors": "7"}
        values |= OWN["REST"] | FAST | {"LatencyP99Threshold": "900"}
        alarms = Stack(values, self.template).resources("AWS::CloudWatch::Alarm")
        errors, latency = alarms["FastErrorAlarm"], alarms["FastLatencyAlarm"]
        guarded = "IF({0} * requests / 100 > 7 - 0.5, {1}, 0)"
        self.assertEqual(errors["Metrics"][0]["Expression"], guarded.format("share", "share / 100"))
        self.assertEqual(latency["Metrics"][0]["Expression"], guarded.format("slow", "slow"))
        self.assertEqual((errors["Threshold"], latency["Threshold"]), ("0.1", 1))
        stats = [one["MetricStat"]["Stat"] for alarm in (errors, latency) for one in alarm["Metrics"][1:]]
        self.assertEqual(stats, ["PR(499:599)", "SampleCount", "PR(900:3600000)", "SampleCount"])

    def test_only_a_sample_api_gets_an_access_log_and_only_with_fast_detection(self):
        for protocol, kind in STAGES.items():
            for values, is_logged in ((SAMPLES[protocol], False), (SAMPLES[protocol] | FAST, True)):
                stack = Stack(values, self.template)
                (stage,) = stack.resources(kind).values()
                log = stage.get("AccessLogSetting") or stage.get("AccessLogSettings")
                self.assertEqual(bool(log), is_logged, values)
                groups = {name for name in stack.resources("AWS::Logs::LogGroup") if name != "FunctionLog"}
                self.assertEqual(groups, {"SampleAccessLog"} if is_logged else set(), values)
                if is_logged:
                    group = stack.resources("AWS::Logs::LogGroup")["SampleAccessLog"]
                    self.assertEqual(group["LogGroupClass"], "STANDARD")
                    self.assertIn(f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:", log["DestinationArn"])
        for values in OWN.values():
            groups = Stack(values | FAST, self.template).resources("AWS::Logs::LogGroup")
            self.assertEqual(set(groups), {"FunctionLog"}, values)

    def test_no_stack_replaces_a_setting_of_the_whole_account(self):
        kinds = {resource["Type"] for resource in self.template["Resources"].values()}
        self.assertNotIn("AWS::ApiGateway::Account", kinds)
        self.assertNotIn("AWS::Logs::AccountPolicy", kinds)

    def test_the_probability_is_a_decimal_number_within_its_bounds(self):
        pattern = source()["Parameters"]["ConvictAlpha"]["AllowedPattern"]
        for text, is_allowed in [
            ("0.0001", True),
            ("0.000001", True),
            ("0.01", True),
            ("0.0100", True),
            ("0.005", True),
            ("0.00050", True),
            ("0.0000001", False),
            ("0.011", False),
            ("0.0101", False),
            ("0.1", False),
            ("0", False),
            ("0.00", False),
            ("1e-4", False),
            (".001", False),
            ("", False),
        ]:
            self.assertEqual(bool(re.search(pattern, text)), is_allowed, text)


if __name__ == "__main__":
    unittest.main()
