"""Only named services with named sources may reach the stack's topics, queue, functions and key from outside."""

import unittest

from calls import KEY, arn
from combinations import Combinations
from policy import is_allowed, listed, of_role, statements
from stack import ACCOUNT, NAME, REGION, Stack, translated

ALARM_TOPIC, PEOPLE = arn("sns", f"{NAME}-AlarmTopic-X1"), arn("sns", f"{NAME}-NotificationTopic-X1")
QUEUE = arn("sqs", f"{NAME}-DeadLetterQueue-X1")
CLOUDWATCH, SNS, LOGS = "cloudwatch.amazonaws.com", "sns.amazonaws.com", f"logs.{REGION}.amazonaws.com"
EVENTS = "events.amazonaws.com"
TELLS, HEARS = (arn("events", f"rule/{NAME}-{rule}-X1") for rule in ("TellSiblings", "HearSiblings"))
LOG = {"kms:EncryptionContext:aws:logs:arn": arn("logs", f"log-group:/aws/lambda/{NAME}")}
OTHER = "999999999999"


HTTP = {"aws:SecureTransport": "false"}
# The keys of a call that a service makes as itself, and of a call of a user or a role.
SERVICE = {"aws:PrincipalIsAWSService": "true", "aws:SecureTransport": "true"}
PERSON = {"aws:PrincipalIsAWSService": "false", "aws:SecureTransport": "true"}


def by(source, account=ACCOUNT, **more):
    return SERVICE | {"aws:SourceArn": source, "aws:SourceAccount": account} | more


def alarm(name, account=ACCOUNT):
    return by(arn("cloudwatch", f"alarm:{name}").replace(ACCOUNT, account), account)


# For a stack with all features: whether it is allowed, the service, its action, the resource, and the context.
DOORS = [
    (True, CLOUDWATCH, "sns:Publish", ALARM_TOPIC, alarm(f"{NAME}-stage-latency")),
    (True, CLOUDWATCH, "sns:Publish", ALARM_TOPIC, alarm("of-my-own")),
    (False, CLOUDWATCH, "sns:Publish", ALARM_TOPIC, alarm(f"{NAME}-stage-latency", OTHER)),
    (False, CLOUDWATCH, "sns:Publish", ALARM_TOPIC, by(arn("events", "rule/x"))),
    (False, CLOUDWATCH, "sns:Publish", ALARM_TOPIC, {}),
    (False, CLOUDWATCH, "sns:Publish", ALARM_TOPIC, alarm("of-my-own") | HTTP),
    (False, CLOUDWATCH, "sns:Subscribe", ALARM_TOPIC, alarm("of-my-own")),
    (False, "events.amazonaws.com", "sns:Publish", ALARM_TOPIC, by(arn("events", "rule/x"))),
    (True, CLOUDWATCH, "sns:Publish", PEOPLE, alarm(f"{NAME}-function-throttles")),
    (False, CLOUDWATCH, "sns:Publish", PEOPLE, alarm("of-my-own")),
    (False, CLOUDWATCH, "sns:Publish", PEOPLE, alarm(f"{NAME}-function-throttles", OTHER)),
    (False, CLOUDWATCH, "sns:Publish", PEOPLE, alarm(f"{NAME}-function-throttles") | HTTP),
    (True, SNS, "sqs:SendMessage", QUEUE, by(ALARM_TOPIC)),
    (False, SNS, "sqs:SendMessage", QUEUE, by(PEOPLE)),
    (False, SNS, "sqs:SendMessage", QUEUE, by(ALARM_TOPIC.replace(ACCOUNT, OTHER), OTHER)),
    (False, SNS, "sqs:SendMessage", QUEUE, by(ALARM_TOPIC) | HTTP),
    (False, SNS, "sqs:ReceiveMessage", QUEUE, by(ALARM_TOPIC)),
    (True, EVENTS, "sqs:SendMessage", QUEUE, by(TELLS)),
    (True, EVENTS, "sqs:SendMessage", QUEUE, by(HEARS)),
    (False, EVENTS, "sqs:SendMessage", QUEUE, by(arn("events", "rule/x"))),
    (False, EVENTS, "sqs:ReceiveMessage", QUEUE, by(TELLS)),
]
# The same for a user or a role whose own policy allows everything.
PEOPLES_DOORS = [
    (False, "sns:Publish", ALARM_TOPIC, PERSON),
    (False, "sns:Publish", ALARM_TOPIC, PERSON | HTTP),
    (True, "sns:Subscribe", ALARM_TOPIC, PERSON),
    (True, "sns:Publish", PEOPLE, PERSON),
    (False, "sns:Publish", PEOPLE, PERSON | HTTP),
    (True, "sqs:ReceiveMessage", QUEUE, PERSON),
    (False, "sqs:ReceiveMessage", QUEUE, PERSON | HTTP),
]
# The same for the key, whose own policy names it `*`.
LOCKS = [
    *((True, CLOUDWATCH, f"kms:{action}", alarm("any")) for action in ("Decrypt", "GenerateDataKey")),
    (False, CLOUDWATCH, "kms:Decrypt", alarm("any", OTHER)),
    (False, CLOUDWATCH, "kms:CreateGrant", alarm("any")),
    *((True, SNS, f"kms:{action}", by(ALARM_TOPIC)) for action in ("Decrypt", "GenerateDataKey")),
    (False, SNS, "kms:Decrypt", by(arn("sns", "others"))),
    (False, SNS, "kms:Decrypt", by(ALARM_TOPIC.replace(ACCOUNT, OTHER), OTHER)),
    *((True, EVENTS, f"kms:{action}", by(TELLS)) for action in ("Decrypt", "GenerateDataKey")),
    (False, EVENTS, "kms:Decrypt", by(TELLS.replace(ACCOUNT, OTHER), OTHER)),
    (False, EVENTS, "kms:CreateGrant", by(TELLS)),
    *((True, LOGS, f"kms:{action}", LOG) for action in ("Encrypt", "Decrypt", "GenerateDataKey", "DescribeKey")),
    (False, LOGS, "kms:Decrypt", {"kms:EncryptionContext:aws:logs:arn": arn("logs", "log-group:others")}),
    (False, "s3.amazonaws.com", "kms:Decrypt", by("arn:aws:s3:::bucket")),
]

# The policies with an open source, and why.
OPEN_SOURCES = {
    "AlarmTopicPolicy": "any alarm of the account may notify the topic",
    "NotificationTopicPolicy": "the stack's alarms on the function share a name prefix",
}


def admitted(stack):
    """Returns all statements of the policies on resources of the stack."""
    found = []
    for kind in ("AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy"):
        for name, policy in stack.resources(kind).items():
            found += statements(name, policy["PolicyDocument"])
    return found


def key_statements(stack):
    (key,) = stack.resources("AWS::KMS::Key").values()
    return list(statements("Key", key["KeyPolicy"]))


def of_service(given, service):
    return [one for one in given if one.principal == "*" or service in listed(one.principal.get("Service", []))]


def of_anyone(given):
    return [one for one in given if one.principal == "*"]


# What AWS documents that each service sends when it invokes a function. A permission that asks for more might never
# allow it. SNS: Lambda Developer Guide, "Using AWS Lambda with Amazon SNS". API Gateway: API Gateway Developer Guide,
# "Set up Lambda proxy integrations". CloudWatch: CloudWatch User Guide, "Invoke a Lambda function from an alarm".
# EventBridge: EventBridge User Guide, "Using resource-based policies for Amazon EventBridge".
SENDS = {
    SNS: {"SourceArn"},
    EVENTS: {"SourceArn"},
    "apigateway.amazonaws.com": {"SourceArn"},
    "lambda.alarms.cloudwatch.amazonaws.com": {"SourceArn", "SourceAccount"},
}


class Doors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.template = translated()
        cls.values = {"NotificationEmail": "people@example.com", "KmsKey": "create", "Siblings": "us-east-1"}
        cls.stack = Stack(cls.values, cls.template)

    def each_stack(self, *kinds):
        """Returns a stack for each combination that resources of these kinds can distinguish."""
        resources = [one for one in self.template["Resources"].values() if one["Type"] in kinds]
        return (Stack(values, self.template) for values in Combinations(self.template).of(resources))

    def test_each_service_reaches_its_resources_for_its_own_source_only(self):
        given = admitted(self.stack)
        for allowed, service, action, resource, context in DOORS:
            with self.subTest(service=service, action=action, resource=resource, context=context):
                self.assertEqual(is_allowed(of_service(given, service), action, resource, context), allowed)

    def test_no_user_or_role_publishes_to_the_alarm_topic_and_none_uses_plain_http(self):
        everything = list(statements("own", {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}))
        given = everything + of_anyone(admitted(self.stack))
        for allowed, action, resource, context in PEOPLES_DOORS:
            with self.subTest(action=action, resource=resource, context=context):
                self.assertEqual(is_allowed(given, action, resource, context), allowed)

    def test_the_topics_admit_cloudwatch_and_the_function_even_without_the_keys_that_the_denials_read(self):
        """A lost alarm is worse than a forged one, so a denial needs a key that says so."""
        by_service = of_service(admitted(self.stack), CLOUDWATCH)
        for name, topic in (("of-my-own", ALARM_TOPIC), (f"{NAME}-function-throttles", PEOPLE)):
            for key in SERVICE:
                context = {one: value for one, value in alarm(name).items() if one != key}
                self.assertTrue(is_allowed(by_service, "sns:Publish", topic, context), (topic, key))
        by_function = of_role(self.stack, "FunctionRole") + of_anyone(admitted(self.stack))
        for context in (PERSON, {}):
            self.assertTrue(is_allowed(by_function, "sns:Publish", PEOPLE, context), context)

    def test_each_service_uses_the_key_for_its_own_source_only(self):
        given = key_statements(self.stack)
        for allowed, service, action, context in LOCKS:
            with self.subTest(service=service, action=action, context=context):
                self.assertEqual(is_allowed(of_service(given, service), action, KEY, context), allowed)

    def test_every_statement_names_a_service_and_its_source(self):
        for stack in self.each_stack("AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy"):
            for one in admitted(stack):
                if one.effect == "Deny":
                    continue
                self.assertEqual(list(one.principal), ["Service"], one)
                (sources,) = (listed(keys["aws:SourceArn"]) for keys in one.condition.values() if "aws:SourceArn" in keys)
                self.assertTrue(sources and all(ACCOUNT in source for source in sources), one)
                self.assertEqual("*" in sources[0], one.owner in OPEN_SOURCES, one)
                self.assertNotIn("*", "".join(one.resources + one.actions), one)
                accounts = [keys["aws:SourceAccount"] for keys in one.condition.values() if "aws:SourceAccount" in keys]
                self.assertEqual(accounts, [] if one.principal["Service"] in (SNS, EVENTS) else [ACCOUNT], one)

    def test_every_permission_on_a_function_names_its_source_by_what_aws_documents(self):
        seen = set()
        for stack in self.each_stack("AWS::Lambda::Permission"):
            for name, permission in stack.resources("AWS::Lambda::Permission").items():
                principal = permission["Principal"]
                self.assertIn(f":{ACCOUNT}:", permission["SourceArn"], name)
                self.assertEqual(permission["Action"].lower(), "lambda:invokefunction", name)
                asks = {"SourceArn", "SourceAccount"} & set(permission)
                self.assertEqual(asks, SENDS[principal], name)
                if principal == SNS:
                    self.assertEqual(permission["SourceArn"], ALARM_TOPIC)
                seen.add(principal)
        self.assertEqual(seen, set(SENDS))

    def test_a_key_encrypts_every_topic_queue_and_log_and_the_queue_is_always_encrypted(self):
        for key in ("", "create", KEY):
            stack = Stack(self.values | {"KmsKey": key}, self.template)
            used = stack.att("Key", "Arn") if key == "create" else key or None
            topics, queues, logs = (
                stack.resources(kind).values() for kind in ("AWS::SNS::Topic", "AWS::SQS::Queue", "AWS::Logs::LogGroup")
            )
            self.assertEqual([one.get("KmsMasterKeyId") for one in topics], [used, used])
            self.assertEqual([one.get("KmsMasterKeyId") for one in queues], [used])
            self.assertEqual([one.get("SqsManagedSseEnabled") for one in queues], [None if key else True])
            self.assertEqual([one.get("KmsKeyId") for one in logs], [used])
            self.assertEqual(len(stack.resources("AWS::KMS::Key")), 1 if key == "create" else 0)

    def test_only_schedules_of_this_account_assume_the_sweep_role_and_only_lambda_the_function_role(self):
        roles = self.stack.resources("AWS::IAM::Role")
        trusted = {name: role["AssumeRolePolicyDocument"]["Statement"][0] for name, role in roles.items()}
        self.assertEqual(trusted["FunctionRole"]["Principal"], {"Service": "lambda.amazonaws.com"})
        self.assertEqual(trusted["SweepRole"]["Principal"], {"Service": "scheduler.amazonaws.com"})
        self.assertEqual(
            trusted["SweepRole"]["Condition"]["StringEquals"],
            {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": arn("scheduler", "schedule-group/default")},
        )


if __name__ == "__main__":
    unittest.main()
