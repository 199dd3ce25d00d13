"""The function's role allows exactly the calls that the function makes."""

import unittest
from urllib.parse import quote

import calls
from calls import KEY, arn
from cases import PEOPLE, Cases
from policy import is_allowed, of_role
from stack import ACCOUNT, NAME, REGION, Stack

# The statements with open resources, and why they have no exact ARN.
OPEN = {
    "ReadDeployments": "only the record has the id of the known-good deployment",
    "KeepRecords": "incidents are named after releases, and a template cannot escape every API name",
    "ForgetOldIncidents": "incidents are named after releases",
    "ReadAlarmsAndTheirMetrics": "any alarm may guard a stage; these calls support no narrower resource",
    "WriteLog": "Lambda names the streams",
    "WriteTraces": "X-Ray supports no resource for these",
    "ReadAndMoveTheAliases": "CloudFormation joins a list with fixed text only, without partition, Region or account",
    "ReadTheVersions": "the same; and only the record has the version",
    "SeeRunningDeployments": "CodeDeploy does not say which deployment group moves an alias",
    "ReadAndMoveTheMapping": "AWS does not document the ARN of a domain's root path",
    "MoveTheMapping": "the ARN has the mapping's id, which is not known at deployment",
    "ReadItsRoutingRules": "the ARN has the rule's id; listing needs all of them",
    "ReadTheOtherStages": "only the record has the stage that a mapping must point at",
    "RememberWhatWasTold": "marks are named after the notification",
}

API = f"arn:aws:apigateway:{REGION}::/restapis/a1b2c3d4e5"
# Denied for the stage `prod` of this REST API, with every feature on.
DENIED = [
    ("apigateway:DELETE", f"{API}/stages/prod"),
    ("apigateway:DELETE", f"{API}/stages/prod-known-good"),
    ("apigateway:DELETE", f"{API}/deployments/d1"),
    ("apigateway:DELETE", API),
    ("apigateway:POST", f"{API}/deployments"),
    ("apigateway:PATCH", f"{API}/deployments/d1"),
    ("apigateway:PUT", API),
    ("apigateway:PATCH", API),
    ("apigateway:GET", f"{API}/resources"),
    ("apigateway:GET", f"{API}/stages/prod/exports/oas30"),
    ("apigateway:GET", f"{API}/stages/prod/sdks/android"),
    ("apigateway:PATCH", f"{API}/stages/test"),
    ("apigateway:TagResource", f"{API}/stages/prod"),
    ("apigateway:TagResource", API),
    ("apigateway:PUT", f"arn:aws:apigateway:{REGION}::/tags/{quote(API + '/stages/prod', safe='')}"),
    ("apigateway:DELETE", f"arn:aws:apigateway:{REGION}::/tags/{quote(API + '/stages/prod-known-good', safe='')}"),
    ("apigateway:PATCH", f"{API}/stages/prod2"),
    ("apigateway:PATCH", f"{API}/stages/test-known-good"),
    ("apigateway:DELETE", f"{API}/stages/test/cache/data"),
    ("apigateway:GET", API.replace("a1b2c3d4e5", "b2c3d4e5f6")),
    ("apigateway:GET", API.replace("a1b2c3d4e5", "b2c3d4e5f6") + "/stages/prod"),
    ("apigateway:PATCH", API.replace("a1b2c3d4e5", "b2c3d4e5f6") + "/stages/prod"),
    ("apigateway:POST", API.replace("a1b2c3d4e5", "b2c3d4e5f6") + "/stages"),
    ("apigateway:GET", f"arn:aws:apigateway:{REGION}::/apikeys"),
    ("apigateway:PATCH", f"arn:aws:apigateway:{REGION}::/account"),
    ("apigateway:PATCH", f"arn:aws:apigateway:{REGION}::/domainnames/api.example.com"),
    ("apigateway:PATCH", f"arn:aws:apigateway:{REGION}::/domainnames/api.example.com/basepathmappings/carts"),
    ("apigateway:DELETE", f"arn:aws:apigateway:{REGION}::/domainnames/api.example.com/basepathmappings/orders"),
    ("ssm:GetParameters", arn("ssm", "parameter/database/password")),
    ("ssm:GetParameters", arn("ssm", "parameter/apigw-rollback/stages/b2c3d4e5f6/prod/known-good")),
    ("ssm:GetParameters", arn("ssm", "parameter/apigw-rollback/stages/a1b2c3d4e5/test/known-good")),
    ("ssm:PutParameter", arn("ssm", "parameter/apigw-rollback/stages/a1b2c3d4e5/test/known-good")),
    ("ssm:PutParameter", arn("ssm", "parameter/apigw-rollback-2/stages/a1b2c3d4e5/prod/known-good")),
    ("ssm:DeleteParameter", arn("ssm", "parameter/apigw-rollback/stages/a1b2c3d4e5/prod/known-good")),
    ("ssm:DeleteParameter", arn("ssm", "parameter/apigw-rollback/names/orders-api")),
    ("ssm:GetParametersByPath", arn("ssm", "parameter/")),
    ("ssm:AddTagsToResource", arn("ssm", "parameter/apigw-rollback/stages/a1b2c3d4e5/prod/known-good")),
    ("sns:Publish", arn("sns", f"{NAME}-AlarmTopic-X1")),
    ("sns:Publish", arn("sns", "others")),
    ("sns:Subscribe", PEOPLE),
    ("sqs:ReceiveMessage", arn("sqs", f"{NAME}-DeadLetterQueue-X1")),
    ("sqs:SendMessage", arn("sqs", "others")),
    ("events:PutEvents", arn("events", "event-bus/others")),
    ("events:PutRule", arn("events", "rule/x")),
    ("lambda:UpdateAlias", arn("lambda", "function:payments")),
    ("lambda:UpdateAlias", arn("lambda", f"function:{NAME}")),
    ("lambda:UpdateFunctionCode", arn("lambda", "function:orders")),
    ("lambda:PublishVersion", arn("lambda", "function:orders")),
    ("lambda:InvokeFunction", arn("lambda", "function:orders")),
    ("lambda:InvokeFunction", arn("lambda", f"function:{NAME}")),
    ("lambda:GetFunction", arn("lambda", "function:orders")),
    ("cloudwatch:PutMetricAlarm", arn("cloudwatch", "alarm:x")),
    ("cloudwatch:SetAlarmState", arn("cloudwatch", "alarm:x")),
    ("codedeploy:StopDeployment", "*"),
    ("logs:CreateLogStream", arn("logs", "log-group:/aws/lambda/others:log-stream:x")),
    ("logs:DeleteLogGroup", arn("logs", f"log-group:/aws/lambda/{NAME}")),
    ("kms:Decrypt", arn("kms", "key/others")),
    ("kms:ScheduleKeyDeletion", KEY),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/x"),
    ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/x"),
    ("s3:GetObject", "arn:aws:s3:::bucket/x"),
]
CONTEXT = {"aws:RequestedRegion": REGION, "events:source": NAME, "kms:ViaService": f"sns.{REGION}.amazonaws.com"}


class Permissions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cases = Cases()

    def test_every_call_is_allowed_if_its_feature_is_on(self):
        for key in self.cases.places:
            for features in self.cases.choices(key):
                refused = self.cases.refused(self.cases.role(key, features), self.cases.needed(key, features))
                self.assertEqual(refused, [], f"{key} with {features}")

    def test_no_call_of_a_feature_is_allowed_if_it_is_off(self):
        for key in self.cases.places:
            for features in self.cases.choices(key):
                given, needed = self.cases.role(key, features), self.cases.needed(key, features)
                for other in self.cases.features(key):
                    # The two forms of a mapping may need the same calls.
                    if other in features or any("mapping" in one for one in features) and "mapping" in other:
                        continue
                    calls = [one for one in self.cases.calls(key, other) if one not in needed]
                    refused = self.cases.refused(given, calls)
                    asked = sum(len(one.resources) for one in calls)
                    self.assertEqual(len(refused), asked, f"{key} with {features} may do what {other} needs")

    def test_nothing_is_allowed_that_no_call_needs(self):
        for key in self.cases.places:
            for features in self.cases.choices(key):
                needed = self.cases.needed(key, features)
                asked = [(one.action, resource, dict(one.context)) for one in needed for resource in one.resources]
                for statement in self.cases.role(key, features):
                    if statement.effect == "Deny":
                        continue
                    for action, resource in statement.pairs():
                        alone = [statement.narrowed(action, resource)]
                        self.assertTrue(
                            any(is_allowed(alone, *one) for one in asked),
                            f"{statement.owner}/{statement.sid} allows {action} on {resource}, which no call of {key} "
                            f"with {features} needs",
                        )

    def test_every_open_resource_has_a_reason(self):
        found = set()
        for key in self.cases.places:
            given = [self.cases.role(key, self.cases.together(key, which)) for which in ("mapping", "mapping-root")]
            for statement in given[0] + given[1]:
                self.assertFalse(any("*" in action for action in statement.actions), statement.sid)
                if statement.effect == "Allow" and any("*" in resource for resource in statement.resources):
                    found.add(statement.sid)
        self.assertEqual(found, set(OPEN))

    def test_unneeded_actions_are_denied(self):
        asked = [f"{action} on {on}" for action, on in DENIED if is_allowed(self.full(), action, on, CONTEXT)]
        self.assertEqual(asked, [])

    def test_every_service_of_the_role_has_a_denied_action(self):
        allowed = {action.split(":")[0] for one in self.full() for action in one.actions}
        denied = {action.split(":")[0] for action, _ in DENIED}
        self.assertEqual(allowed - denied, {"xray"})

    def test_permissions_do_not_extend_to_other_services_regions_or_sources(self):
        for action, on, key, elsewhere in [
            ("kms:Decrypt", KEY, "kms:ViaService", f"s3.{REGION}.amazonaws.com"),
            ("lambda:UpdateAlias", arn("lambda", "function:orders"), "aws:RequestedRegion", "us-east-1"),
            ("events:PutEvents", arn("events", "event-bus/default"), "events:source", "orders"),
        ]:
            self.assertTrue(is_allowed(self.full(), action, on, CONTEXT))
            self.assertFalse(is_allowed(self.full(), action, on, CONTEXT | {key: elsewhere}))

    def full(self):
        """Returns the role with all features on."""
        return self.cases.role("rest/a1b2c3d4e5/prod", self.cases.together("rest/a1b2c3d4e5/prod"))

    def test_the_doctor_checks_only_permissions_that_the_role_has(self):
        """Otherwise the doctor would report a fault that does not exist."""
        self.assertEqual(set(self.cases.doctor), set(self.cases.places))
        for key, asked in self.cases.doctor.items():
            given = self.cases.role(key, self.cases.together(key))
            refused = [one for one in asked if not is_allowed(given, *one, dict(calls.CONTEXT))]
            self.assertEqual(refused, [], key)

    def test_a_sample_api_gets_the_same_permissions(self):
        for key, protocol in [("rest/a1b2c3d4e5/prod", "REST"), ("http/ju6maoy9o2/$default", "HTTP")]:
            sample = {"ApiId": "", "ApiName": "", "Protocol": protocol}
            features = self.cases.together(key)
            self.assertEqual(self.cases.role(key, features, sample), self.cases.role(key, features))

    def test_the_schedule_may_invoke_only_the_function(self):
        stack = Stack({}, self.cases.template)
        (statement,) = of_role(stack, "SweepRole")
        self.assertEqual(statement.pairs(), [("lambda:InvokeFunction", arn("lambda", f"function:{NAME}"))])


if __name__ == "__main__":
    unittest.main()
