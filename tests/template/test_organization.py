"""The parameters for the rules of an organization: boundary and path of the roles, tags, a log group of one's own."""

import re
import unittest

from calls import arn
from combinations import GIVEN, Combinations
from policy import is_allowed, of_role
from stack import ACCOUNT, NAME, ROOT, Stack, translated

OWN_LOG = "/team/rollbacks"
GOOD = {
    "PermissionsBoundary": ["", f"arn:aws:iam::{ACCOUNT}:policy/teams/b", "arn:aws-cn:iam::aws:policy/PowerUserAccess"],
    "RolePath": ["", "/", "/teams/orders/"],
    "Tags": ["", "team=orders", "team=orders,cost-center=42", "Cost Center=4/2=x", "Empty="],
    "LogGroupName": ["", OWN_LOG, "/aws/lambda/other", "a#b"],
    "ApiName": ["", "orders-api", "Orders (v2) [eu]~!"],
    "Functions": ["", "orders", ",".join(["orders"] * 100)],
    "ParameterPrefix": ["/apigw-rollback", "/a/b_c.d-e", "/team/aws", "/aw/ssm", "/as"],
    "AlarmPrefixes": ["", "orders-", "orders-,web-", "orders api-, web-"],
    "UnwiredAlarmPrefixes": ["", "queue-"],
    "Siblings": ["", "eu-west-1", "us-gov-west-1,us-isob-east-1,ap-southeast-5,eusc-de-east-1"],
}
BAD = {
    "PermissionsBoundary": ["boundary", f"arn:aws:iam::{ACCOUNT}:role/x", "arn:aws:iam::12:policy/b"],
    "RolePath": ["teams", "/teams", "teams/", "//  /"],
    "Tags": ["Team", "=orders", "team=orders,", "Team=a;b", "k" * 129 + "=v", "k=" + "v" * 257, ",".join(["k=v"] * 51)],
    "LogGroupName": ["a b", "a*", "x" * 513],
    "ApiName": ['the "orders"', "a\\b", "ä"],
    "Functions": ["orders,", "a:live", ",".join(["orders"] * 101)],
    "ParameterPrefix": ["", "/", "a", "/a/", "/aws", "/AWS-rollback", "/ssm-x", "/Ssm/x"],
    "AlarmPrefixes": [" ", "orders-, ", "orders-,\t,web-", "orders*"],
    "UnwiredAlarmPrefixes": [",", " ,queue-"],
    "Siblings": ["euwest12345", "eu-west-1,", "eu-west"],
}


class Organization(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.template = translated()

    def each_stack(self, kind):
        resources = [one for one in self.template["Resources"].values() if one["Type"] == kind]
        return [Stack(values, self.template) for values in Combinations(self.template).of(resources)]

    def test_every_role_has_the_boundary_and_the_path_if_they_are_given_and_neither_otherwise(self):
        seen = set()
        for stack in self.each_stack("AWS::IAM::Role"):
            wanted = tuple(stack.values[name] or None for name in ("PermissionsBoundary", "RolePath"))
            for name, role in stack.resources("AWS::IAM::Role").items():
                self.assertEqual((role.get("PermissionsBoundary"), role.get("Path")), wanted, name)
                seen.add((name, wanted))
        roles = [name for name, one in self.template["Resources"].items() if one["Type"] == "AWS::IAM::Role"]
        boundary, path = GIVEN["PermissionsBoundary"], GIVEN["RolePath"]
        self.assertEqual(seen, {(name, (b, p)) for name in roles for b in (None, boundary) for p in (None, path)})
        self.assertEqual(len(roles), 4)

    def test_the_function_writes_to_the_log_group_that_is_given_or_to_the_one_that_the_stack_creates(self):
        for given, log in [("", f"/aws/lambda/{NAME}"), (OWN_LOG, OWN_LOG)]:
            stack = Stack({"LogGroupName": given, "KmsKey": "create"}, self.template)
            function = stack.resources("AWS::Lambda::Function")["RollbackFunction"]
            self.assertEqual(function["LoggingConfig"]["LogGroup"], log)
            self.assertEqual(len(stack.resources("AWS::Logs::LogGroup")), 0 if given else 1)
            self.assertIn(f" {log} ", stack.outputs()["LogCommand"])
            role = of_role(stack, "FunctionRole")
            for name in (f"/aws/lambda/{NAME}", OWN_LOG):
                stream = arn("logs", f"log-group:{name}:log-stream:x")
                self.assertEqual(is_allowed(role, "logs:PutLogEvents", stream, {}), name == log, name)
            # The key of the stack encrypts only the log group of the stack.
            (key,) = stack.resources("AWS::KMS::Key").values()
            self.assertEqual("logs." in str(key["KeyPolicy"]), not given)

    def test_the_function_gets_the_tags(self):
        stack = Stack({"Tags": "team=orders"}, self.template)
        function = stack.resources("AWS::Lambda::Function")["RollbackFunction"]
        self.assertEqual(function["Environment"]["Variables"]["TAGS"], "team=orders")

    def test_cloudformation_refuses_what_iam_logs_or_the_function_would_refuse(self):
        for name, values in GOOD.items():
            for value in values:
                self.assertRegex(value, self.template["Parameters"][name]["AllowedPattern"], name)
        for name, values in BAD.items():
            for value in values:
                self.assertIsNone(re.search(self.template["Parameters"][name]["AllowedPattern"], value), f"{name}: {value}")

    def test_the_template_has_the_version_of_the_program(self):
        version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
        stack = Stack({}, self.template)
        self.assertEqual(stack.outputs()["Version"], version)
        self.assertEqual(self.template["Metadata"]["AWS::ServerlessRepo::Application"]["SemanticVersion"], version)


if __name__ == "__main__":
    unittest.main()
