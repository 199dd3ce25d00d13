"""The templates of a release, made from template.yaml: one for CloudFormation alone, and one for SAM.

Both need no build. The first is expanded by SAM's own translator, so it has no transform, and takes the code from a
bucket. The second refers to the zip beside it, which `sam deploy` uploads.
"""

import os
from pathlib import Path

# The translator needs a Region to determine the partition; the result names no partition.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samcli.yamlhelper import yaml_dump, yaml_parse  # noqa: E402
from samtranslator.parser.parser import Parser  # noqa: E402
from samtranslator.translator.translator import Translator  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FUNCTION = "RollbackFunction"


def zip_of(architecture):
    return f"apigw-rollback-function-{architecture}.zip"


def sam_name(architecture):
    return "template-sam.yaml" if architecture == "x86_64" else f"template-sam-{architecture}.yaml"


def key_of(version, architecture):
    """Returns the key below which upload.sh puts the code."""
    return f"apigw-rollback/{version}/{zip_of(architecture)}"


def source():
    return yaml_parse((ROOT / "template.yaml").read_text())


def version_of(template):
    return template["Mappings"]["Release"]["This"]["Version"]


def plain(architectures):
    """Returns the template for CloudFormation alone, for code that exists for these architectures."""
    template = source()
    version = version_of(template)
    _without_build(template)
    _only_for(template, architectures)
    _code_by_parameters(template, version)
    parameters = template["Parameters"]
    defaults = {name: parameters[name].pop("Default") for name in parameters if "Default" in parameters[name]}
    # Without defaults the translator leaves every parameter open.
    translator = Translator({}, Parser())
    expanded = translator.translate(template, {})
    translator.metrics.publish()
    for name, default in defaults.items():
        expanded["Parameters"][name]["Default"] = default
    for resource in expanded["Resources"].values():
        resource.get("Metadata", {}).pop("SamResourceId", None)
        if not resource.get("Metadata", True):
            del resource["Metadata"]
    assert "Transform" not in expanded
    return expanded


def for_sam(architecture):
    """Returns the SAM template whose code is the zip beside it."""
    template = source()
    _without_build(template)
    _only_for(template, [architecture])
    template["Resources"][FUNCTION]["Properties"]["CodeUri"] = f"./{zip_of(architecture)}"
    return template


def written(template):
    """Returns a template as text. The dumper of SAM writes no YAML aliases, which CloudFormation does not read."""
    return yaml_dump(template)


def _without_build(template):
    for key in ("BuildMethod", "BuildProperties"):
        del template["Resources"][FUNCTION]["Metadata"][key]


def _only_for(template, architectures):
    parameter = template["Parameters"]["Architecture"]
    parameter["Default"], parameter["AllowedValues"] = architectures[0], architectures
    parameter["ConstraintDescription"] = f"an architecture for which this release has code: {', '.join(architectures)}"


def _code_by_parameters(template, version):
    architectures = template["Parameters"]["Architecture"]["AllowedValues"]
    template["Parameters"] |= {
        "CodeBucket": {
            "Type": "String",
            "AllowedPattern": "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
            "ConstraintDescription": "the name of an S3 bucket",
            "Description": "S3 bucket with the function's code. It must be in the Region of the stack.",
        },
        "CodeKey": {
            "Type": "String",
            "Default": "",
            "AllowedPattern": r"^([A-Za-z0-9!_.*'()/=+@:,-]{1,1020}\.zip)?$",
            "ConstraintDescription": "the key of a zip, or empty",
            "Description": (
                "Key of the function's zip in the bucket. Leave it empty for the key that upload.sh gives it, which has "
                f"the version and the architecture: {key_of(version, architectures[0])}"
            ),
        },
    }
    template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"].insert(
        0, {"Label": {"default": "Code of the function"}, "Parameters": ["CodeBucket", "CodeKey"]}
    )
    template["Conditions"]["HasCodeKey"] = {"Fn::Not": [{"Fn::Equals": [{"Ref": "CodeKey"}, ""]}]}
    named = {"Fn::Sub": f"apigw-rollback/{version}/{zip_of('${Architecture}')}"}
    template["Resources"][FUNCTION]["Properties"]["CodeUri"] = {
        "Bucket": {"Ref": "CodeBucket"},
        "Key": {"Fn::If": ["HasCodeKey", {"Ref": "CodeKey"}, named]},
    }
    # A rule cannot look at a part of the key, so it knows only the names that a release gives to its zips.
    for architecture, other in [("x86_64", "arm64"), ("arm64", "x86_64")]:
        foreign = [{"Fn::Not": [{"Fn::Equals": [{"Ref": "CodeKey"}, key]}]}
                   for key in (zip_of(other), key_of(version, other))]
        template["Rules"][f"CodeFor{architecture.replace('_', '').capitalize()}"] = {
            "RuleCondition": {"Fn::Equals": [{"Ref": "Architecture"}, architecture]},
            "Assertions": [{
                "Assert": {"Fn::And": foreign},
                "AssertDescription": (
                    f"The zip in CodeKey is for {other}, and Architecture is {architecture}. "
                    f"Leave CodeKey empty, or give the zip for {architecture}."
                ),
            }],
        }
