"""The template as CloudFormation sees it: expanded by the SAM translator, with its conditions and functions evaluated.

Resources have made-up ids. A reference to a resource that does not exist is an error, as in CloudFormation.
"""

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REGION, ACCOUNT, NAME = "eu-west-1", "123456789012", "apigw-rollback"
# The translator needs the Region to determine the partition.
os.environ["AWS_DEFAULT_REGION"] = REGION

from samtranslator.parser.parser import Parser  # noqa: E402
from samtranslator.translator.translator import Translator  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::StackName": NAME,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{NAME}/0",
}

# The ids in the recorded requests, so that the requests also fit a sample API.
IDS = {"SampleApi": "a1b2c3d4e5", "SampleHttpApi": "ju6maoy9o2"}

ARNS = {
    "AWS::SNS::Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{NAME}-{{id}}-X1",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{NAME}-{{id}}-X1",
    "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{name}}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{NAME}-{{id}}-X1",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{name}}:*",
    "AWS::Events::Rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{NAME}-{{id}}-X1",
    "AWS::KMS::Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{{id}}-X1",
}

NO_VALUE = object()


class Dangling(Exception):
    """A reference to a resource that is not in the stack."""


def source():
    return yaml_parse((ROOT / "template.yaml").read_text())


def translated(values=None):
    """Returns the template expanded by SAM, with these parameters or with all parameters left open."""
    template = source()
    for resource in template["Resources"].values():
        if "CodeUri" in resource.get("Properties", {}):
            # The translator accepts only uploaded code.
            resource["Properties"]["CodeUri"] = "s3://bucket/code"
    parameters = template["Parameters"]
    defaults = {name: str(one["Default"]) for name, one in parameters.items() if "Default" in one}
    if values is None:
        for one in parameters.values():
            one.pop("Default", None)
    translator = Translator({}, Parser())
    expanded = translator.translate(template, {} if values is None else defaults | values)
    # Without this the translator prints a warning; nothing is sent.
    translator.metrics.publish()
    for name, default in defaults.items():
        expanded["Parameters"][name]["Default"] = default
    return expanded


def is_function(value):
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::"))


class Stack:
    """A stack of this template with given parameters."""

    def __init__(self, values=None, template=None):
        self.template = template or translated(values)
        parameters = self.template["Parameters"]
        unknown = set(values or {}) - set(parameters)
        assert not unknown, f"the template has no parameter {unknown}"
        self.values = {name: one["Default"] for name, one in parameters.items() if "Default" in one}
        self.values.update(values or {})
        self._conditions = {}

    def has(self, condition):
        if condition not in self._conditions:
            self._conditions[condition] = self.holds(self.template["Conditions"][condition])
        return self._conditions[condition]

    def holds(self, test):
        (kind, of), = test.items()
        if kind == "Condition":
            return self.has(of)
        if kind == "Fn::Equals":
            first, second = (str(self.value(one)) for one in of)
            return first == second
        if kind == "Fn::Not":
            return not self.holds(of[0])
        return {"Fn::And": all, "Fn::Or": any}[kind](self.holds(one) for one in of)

    def is_there(self, name):
        resource = self.template["Resources"].get(name)
        return resource is not None and ("Condition" not in resource or self.has(resource["Condition"]))

    def resource(self, name):
        """Returns a resource with all its values. Raises Dangling for a reference to a missing resource."""
        resource = self.template["Resources"][name]
        waits = resource.get("DependsOn", [])
        for other in [waits] if isinstance(waits, str) else waits:
            self.must_have(other)
        return {"Type": resource["Type"], "Properties": self.value(resource.get("Properties", {}))}

    def resources(self, kind=None):
        names = [name for name in self.template["Resources"] if self.is_there(name)]
        return {
            name: self.resource(name)["Properties"]
            for name in names
            if kind in (None, self.template["Resources"][name]["Type"])
        }

    def outputs(self):
        outputs = self.template["Outputs"].items()
        return {
            name: self.value(output["Value"])
            for name, output in outputs
            if "Condition" not in output or self.has(output["Condition"])
        }

    def broken_rules(self):
        rules = self.template.get("Rules", {}).values()
        applying = [rule for rule in rules if "RuleCondition" not in rule or self.holds(rule["RuleCondition"])]
        asserted = [one for rule in applying for one in rule["Assertions"]]
        return [one["AssertDescription"] for one in asserted if not self.holds(one["Assert"])]

    def must_have(self, name):
        if not self.is_there(name):
            raise Dangling(name)

    def ref(self, name):
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.values:
            return self.values[name]
        self.must_have(name)
        if self.template["Resources"][name]["Type"] == "AWS::SNS::Topic":
            return self.att(name, "Arn")
        return IDS.get(name) or self.own_name(name)

    def own_name(self, name):
        resource = self.template["Resources"][name]
        # The resource's name is in the property that is called after its type, if any: `FunctionName`.
        given = resource["Type"].rsplit("::", 1)[-1] + "Name"
        return self.value(resource.get("Properties", {}).get(given, f"{NAME}-{name}-X1"))

    def att(self, name, attribute):
        self.must_have(name)
        kind = self.template["Resources"][name]["Type"]
        if attribute in ("Arn", "TopicArn"):
            return ARNS[kind].format(id=name, name=self.own_name(name))
        return f"{name}.{attribute}"

    def value(self, value):
        """Returns the value with every function evaluated."""
        if isinstance(value, list):
            return [one for one in map(self.value, value) if one is not NO_VALUE]
        if not is_function(value):
            if not isinstance(value, dict):
                return value
            worked = {key: self.value(one) for key, one in value.items()}
            return {key: one for key, one in worked.items() if one is not NO_VALUE}
        (function, of), = value.items()
        if function == "Fn::If":
            return self.value(of[1] if self.has(of[0]) else of[2])
        if function == "Fn::GetAtt":
            return self.att(*(of.split(".", 1) if isinstance(of, str) else of))
        if function == "Ref":
            return self.ref(of)
        return getattr(self, function.removeprefix("Fn::").lower())(of)

    def sub(self, of):
        text, names = of if isinstance(of, list) else (of, {})

        def one(match):
            name = match.group(1)
            if name in names:
                return str(self.value(names[name]))
            return str(self.att(*name.split(".", 1)) if "." in name else self.ref(name))

        # An exclamation mark keeps the braces for the reader of the text.
        return re.sub(r"\$\{([^!}]+)\}", one, text).replace("${!", "${")

    def join(self, of):
        return of[0].join(str(one) for one in self.value(of[1]))

    def split(self, of):
        return self.value(of[1]).split(of[0])

    def select(self, of):
        return self.value(of[1])[int(of[0])]

    def findinmap(self, of):
        where, first, second = (self.value(one) for one in of)
        return self.template["Mappings"][where][str(first)][second]
