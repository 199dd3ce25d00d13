"""The dashboard of rollouts: the share of the traffic and the shares of 5xx, on one axis."""

import json
import re
import unittest

from stack import IDS, NAME, REGION, ROOT, Stack, translated

ON = {"RolloutDashboard": "on"}
OWN = {"Protocol": "REST", "ApiId": "a1b2c3d4e5", "ApiName": "orders-api", "StageName": "live"}
STACKS = [
    ("off", OWN, None),
    ("an own REST API", OWN | ON, ("a1b2c3d4e5", "live")),
    ("the sample REST API", {"Protocol": "REST"} | ON, (IDS["SampleApi"], "prod")),
    ("an HTTP API, which has no canary", {"Protocol": "HTTP", "ApiId": "ju6maoy9o2", "StageName": "$default"} | ON, None),
    ("a WebSocket API", {"Protocol": "WEBSOCKET", "ApiId": "k7v2m9x1q4"} | ON, None),
]


def constant(file, name):
    """Returns a text that the function's code has under this name."""
    return re.search(rf'const {name}: &str = "([^"]+)"', (ROOT / "src" / file).read_text())[1]


class Dashboard(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.template = translated()

    def dashboard(self, values):
        found = Stack(values, self.template).resources("AWS::CloudWatch::Dashboard")
        return found.get("RolloutGraph")

    def test_only_a_rest_api_gets_a_dashboard_and_only_if_it_is_wanted(self):
        for story, values, expected in STACKS:
            with self.subTest(story):
                self.assertEqual(bool(self.dashboard(values)), bool(expected))

    def test_dashboards_of_two_regions_have_two_names(self):
        self.assertEqual(self.dashboard(OWN | ON)["DashboardName"], f"{NAME}-rollouts-{REGION}")

    def test_the_graph_has_the_share_and_the_errors_of_the_stage_on_one_axis(self):
        published = (ROOT / "src" / "notify" / "metrics.rs").read_text()
        for story, values, expected in STACKS:
            if not expected:
                continue
            api, stage = expected
            with self.subTest(story):
                (widget,) = json.loads(self.dashboard(values)["DashboardBody"])["widgets"]
                graph = widget["properties"]
                self.assertEqual((graph["region"], list(graph["yAxis"])), (REGION, ["left"]))
                share, moves, errors = graph["metrics"]
                self.assertEqual(moves[:-1], [
                    constant("notify/metrics.rs", "NAMESPACE"), "RolloutShare",
                    "Function", NAME, "Stage", f"{api}/{stage}"])
                self.assertIn('"RolloutShare", "Percent"', published)
                self.assertEqual(share[0]["expression"], f"FILL({moves[-1]['id']}, REPEAT)")
                names = {each: constant("model/access_log.rs", each) for each in ("API", "DEPLOYMENT", "STAGE")}
                self.assertEqual(
                    errors[0]["expression"],
                    f"SEARCH('{{\"{constant('model/access_log.rs', 'NAMESPACE')}\",{','.join(names.values())}}} "
                    f"MetricName=\"{constant('model/access_log.rs', 'STATUS')}\" "
                    f"{names['API']}=\"{api}\" {names['STAGE']}=\"{stage}\"', 'PR(499:599)', 60)")
                self.assertEqual(errors[0]["label"], f"5xx of ${{PROP('Dim.{names['DEPLOYMENT']}')}}")
                self.assertFalse([one for one in graph["metrics"] if one[-1].get("yAxis") == "right"])


if __name__ == "__main__":
    unittest.main()
