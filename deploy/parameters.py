"""The parameters of template.yaml, as the doors see them."""

import re
from pathlib import Path
from typing import NamedTuple

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[1]
# The release's template has these besides the parameters of template.yaml: they say where the function's code is.
OF_RELEASE = ("CodeBucket", "CodeKey")
# The kinds of a parameter: what a door takes for it.
SWITCH, NUMBER, LIST, MAP, TEXT = "switch", "number", "list", "map", "text"


class Parameter(NamedTuple):
    """One parameter of the template."""

    name: str
    kind: str
    default: object
    # The value as CloudFormation has it.
    plain: str
    description: str
    allowed: list
    pattern: str
    lowest: object
    highest: object
    longest: int
    # What a value must be, in words.
    constraint: str

    @property
    def snake(self):
        return "_".join(self.words()).lower()

    @property
    def camel(self):
        first, *rest = self.words()
        return first.lower() + "".join(word.capitalize() for word in rest)

    def words(self):
        """Splits the name into words. A letter followed by digits, and a trailing capital, belong to the word before."""
        return re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]\d+|[A-Z]+", self.name)


def kind_of(one):
    if one.get("AllowedValues") and set(one["AllowedValues"]) == {"on", "off"}:
        return SWITCH
    if one["Type"] == "Number":
        return NUMBER
    # The pattern of a list repeats a name after a comma, and that of a map a name with its value.
    pattern = one.get("AllowedPattern", "")
    return TEXT if "(,[" not in pattern else MAP if "}=[" in pattern else LIST


def parameter(name, one):
    kind, plain = kind_of(one), str(one["Default"])
    parts = [part for part in plain.split(",") if part]
    default = {
        SWITCH: lambda: plain == "on",
        NUMBER: lambda: one["Default"],
        LIST: lambda: parts,
        MAP: lambda: dict(part.split("=", 1) for part in parts),
        TEXT: lambda: plain,
    }[kind]()
    return Parameter(
        name, kind, default, plain, " ".join(one["Description"].split()), one.get("AllowedValues", []),
        one.get("AllowedPattern", ""), one.get("MinValue"), one.get("MaxValue"), one.get("MaxLength"),
        " ".join(one.get("ConstraintDescription", "").split()))


def template():
    return yaml_parse((ROOT / "template.yaml").read_text())


def parameters():
    return [parameter(name, one) for name, one in template()["Parameters"].items() if name not in OF_RELEASE]


def rules():
    """Returns the assertions of the template's rules: the condition, or None; the assertion; the message."""
    return [
        (rule.get("RuleCondition"), one["Assert"], " ".join(one["AssertDescription"].split()))
        for rule in template().get("Rules", {}).values()
        for one in rule["Assertions"]
    ]


def groups():
    """Returns the template's groups of parameters: the label, and the names."""
    listed = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    return [(group["Label"]["default"], group["Parameters"]) for group in listed]


def version():
    return re.search(r'^version = "([^"]+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
