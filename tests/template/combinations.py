"""The combinations of the template's conditions, as parameters that produce them.

There are too many to try all of them with the whole template. But one resource depends on few parameters: those of
its own condition, of the conditions within it, and of the resources that it refers to. So each resource is tried
with every combination of these parameters.
"""

import itertools
import re
from functools import cached_property

from stack import ACCOUNT, REGION, Stack

# A value for each parameter that a condition or a rule compares with an empty string.
GIVEN = {
    "ApiId": "a1b2c3d4e5",
    "ApiName": "orders-api",
    "StageName": "prod",
    "Functions": "orders,carts_2",
    "DomainName": "api.example.com",
    "BasePath": "orders",
    "MinimumRequests": "20",
    "LatencyP99Threshold": "10000",
    "ReservedConcurrency": "1",
    "DirectAlarmPrefix": "orders-",
    "NotificationEmail": "people@example.com",
    "NotificationTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:people",
    "EventBus": "default",
    "Siblings": "us-east-1,ap-south-1,eu-central-1,sa-east-1",
    "HookFunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:capture",
    "LogGroupName": "/team/rollbacks",
    "PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
    "RolePath": "/teams/orders/",
    "Tags": "team=orders",
    "KmsKey": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/own",
}

# The resources and parameters, or the conditions, that a CloudFormation function mentions.
NAMES = {
    "Ref": lambda of: {of},
    "Fn::GetAtt": lambda of: {(of.split(".") if isinstance(of, str) else of)[0]},
    "Fn::Sub": lambda of: {
        name.split(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", of if isinstance(of, str) else of[0])
    },
    "DependsOn": lambda of: {of} if isinstance(of, str) else set(of),
}
CONDITIONS = {
    "Fn::If": lambda of: {of[0]},
    # In a policy, `Condition` is a map and has nothing to do with CloudFormation's conditions.
    "Condition": lambda of: {of} if isinstance(of, str) else set(),
}


def mentioned(value, kinds):
    """Returns the names that functions of these kinds mention anywhere in a value."""
    if isinstance(value, list):
        return set().union(*(mentioned(one, kinds) for one in value))
    if not isinstance(value, dict):
        return set()
    here = (kinds[key](of) for key, of in value.items() if key in kinds)
    return set().union(*here, *(mentioned(of, kinds) for of in value.values()))


class Combinations:
    def __init__(self, template):
        self.template = template
        self.choices = {}
        self._collect([template["Conditions"], template["Rules"]])
        for name, values in self.choices.items():
            parameter = template["Parameters"][name]
            values |= set(map(str, parameter.get("AllowedValues", [GIVEN.get(name)])))
            assert None not in values, f"combinations.py needs a value for the parameter {name}"

    def _collect(self, test):
        """Collects the values that conditions and rules compare parameters with."""
        if isinstance(test, list):
            for one in test:
                self._collect(one)
        elif isinstance(test, dict) and "Fn::Equals" in test:
            parameter, word = test["Fn::Equals"]
            # A part of a parameter: the whole one is given or empty.
            word = str(word) if "Ref" in parameter else ""
            for name in mentioned(parameter, NAMES):
                self.choices.setdefault(name, set()).add(word)
        elif isinstance(test, dict):
            self._collect(list(test.values()))

    def _product(self, names):
        names = sorted(names)
        values = (sorted(self.choices[name]) for name in names)
        return (dict(zip(names, some)) for some in itertools.product(*values))

    @cached_property
    def ruled(self):
        """The combinations that the rules allow, of the parameters that the rules check."""
        names = mentioned(self.template["Rules"], {"Ref": lambda of: {of}})
        return [some for some in self._product(names) if not Stack(some, self.template).broken_rules()]

    @cached_property
    def free(self):
        """The parameters of conditions that no rule checks."""
        return set(self.choices) - set(self.ruled[0])

    def count(self):
        return len(self.ruled) * sum(1 for _ in self._product(self.free))

    def _parameters_of(self, conditions):
        tests = [self.template["Conditions"][condition] for condition in conditions]
        deeper = mentioned(tests, CONDITIONS)
        found = mentioned(tests, NAMES) & set(self.choices)
        return found | self._parameters_of(deeper) if deeper else found

    def of(self, part):
        """Yields every combination that this part of the template can distinguish, with a value for each parameter."""
        conditions = mentioned(part, CONDITIONS)
        for name in mentioned(part, NAMES):
            other = self.template["Resources"].get(name, {})
            # The other resource may be absent, or have another name.
            conditions |= mentioned([other.get("Condition") and {"Condition": other["Condition"]}], CONDITIONS)
            conditions |= mentioned(other.get("Properties", {}), CONDITIONS)
        relevant = self._parameters_of(conditions)
        different = {tuple(sorted((name, one[name]) for name in one if name in relevant)): one for one in self.ruled}
        rest = {name: min(values) for name, values in self.choices.items()}
        for ruled in different.values():
            for free in self._product(relevant & self.free):
                yield rest | ruled | free

    def each_rule_with_the_rest(self):
        """Yields every combination that the rules allow, with the first and the last values of the other parameters."""
        for end in (min, max):
            rest = {name: end(self.choices[name]) for name in self.free}
            yield from (rest | ruled for ruled in self.ruled)
