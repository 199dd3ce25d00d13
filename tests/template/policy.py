"""IAM's evaluation of policies, as far as the template needs it: actions, resources, principals, simple conditions."""

import re
from dataclasses import dataclass, field, replace


def listed(value):
    return value if isinstance(value, list) else [value]


def matches(pattern, text):
    """Matches IAM's wildcards, which cross `/` and `:`."""
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


OPERATORS = {
    "StringEquals": lambda wanted, given: wanted == given,
    "ArnEquals": matches,
    "ArnLike": matches,
    "Bool": lambda wanted, given: wanted == given,
}


@dataclass(frozen=True)
class Statement:
    """One statement; `owner` appears in messages only."""

    owner: str
    sid: str
    effect: str
    actions: tuple
    resources: tuple
    condition: dict = field(hash=False)
    principal: object = field(default=None, hash=False)

    def fits(self, action, resource, context):
        """Returns whether the statement covers this call. A condition needs its key in the context."""
        return (
            any(matches(one.lower(), action.lower()) for one in self.actions)
            and any(matches(one, resource) for one in self.resources)
            and all(
                key in context and any(OPERATORS[operator](one, context[key]) for one in listed(wanted))
                for operator, keys in self.condition.items()
                for key, wanted in keys.items()
            )
        )

    def narrowed(self, action, resource):
        return replace(self, actions=(action,), resources=(resource,))

    def pairs(self):
        return [(action, resource) for action in self.actions for resource in self.resources]


def statements(owner, document):
    for one in listed(document["Statement"]):
        yield Statement(
            owner,
            one.get("Sid", ""),
            one["Effect"],
            tuple(listed(one["Action"])),
            tuple(listed(one["Resource"])),
            one.get("Condition", {}),
            one.get("Principal"),
        )


def of_role(stack, role):
    """Returns the statements of a role: its own, and those of the policies that name it."""
    properties = stack.resources("AWS::IAM::Role")[role]
    assert "ManagedPolicyArns" not in properties, f"{role} has managed policies, which can change outside the template"
    found = [one for policy in properties.get("Policies", []) for one in statements(role, policy["PolicyDocument"])]
    for name, policy in stack.resources("AWS::IAM::Policy").items():
        if stack.ref(role) in policy["Roles"]:
            found += statements(name, policy["PolicyDocument"])
    return found


def is_allowed(given, action, resource, context):
    fitting = {one.effect for one in given if one.fits(action, resource, context)}
    return fitting == {"Allow"}
