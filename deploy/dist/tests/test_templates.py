"""The templates of a release are the template of the source, apart from the place of the code."""

import copy
import itertools
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml
from context import ROOT

import templates
from samcli.vendor.serverlessrepo.publish import publish_application
from samcli.yamlhelper import yaml_parse
from stack import Stack, translated

BOTH = ["x86_64", "arm64"]
CODE = {"CodeBucket": "code"}


def without_code(template):
    """Returns the parts of an expanded template that decide what a stack does, without the place of the code."""
    template = copy.deepcopy(template)
    del template["Resources"]["RollbackFunction"]["Properties"]["Code"]
    for resource in template["Resources"].values():
        resource.pop("Metadata", None)
    template["Conditions"].pop("HasCodeKey", None)
    for name in ("CodeBucket", "CodeKey"):
        template["Parameters"].pop(name, None)
    template["Parameters"]["Architecture"].pop("ConstraintDescription", None)
    for parameter in template["Parameters"].values():
        # The tests' view of the source has every default as text.
        parameter["Default"] = str(parameter["Default"])
    for name in ("CodeForX8664", "CodeForArm64"):
        template["Rules"].pop(name, None)
    return {part: template[part] for part in ("Parameters", "Rules", "Mappings", "Conditions", "Resources", "Outputs")}


class Recorder:
    """A client of the Serverless Application Repository that keeps the requests, checked by AWS's model of the service."""

    def __init__(self):
        import boto3
        from botocore.validate import validate_parameters

        self.real, self.validate, self.calls = boto3.client("serverlessrepo", region_name="us-east-1"), validate_parameters, []
        self.exceptions = self.real.exceptions

    def create_application(self, **fields):
        self.validate(fields, self.real.meta.service_model.operation_model("CreateApplication").input_shape)
        self.calls.append(fields)
        return {"ApplicationId": "arn:aws:serverlessrepo:us-east-1:123456789012:applications/apigw-rollback"}


class Templates(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.source = translated()
        cls.plain = templates.plain(BOTH)
        cls.version = templates.version_of(cls.plain)

    def stack(self, **values):
        return Stack(CODE | values, self.plain)

    def broken(self, **values):
        return self.stack(**values).broken_rules()

    def test_the_plain_template_is_the_expanded_source_apart_from_the_code(self):
        got, wanted = without_code(self.plain), without_code(self.source)
        for part in wanted:
            self.assertEqual(list(got[part]), list(wanted[part]), part)
            for name in wanted[part]:
                self.assertEqual(got[part][name], wanted[part][name], f"{part}: {name}")

    def test_cloudformation_needs_no_transform_and_gets_no_yaml_alias(self):
        text = templates.written(self.plain)
        self.assertEqual(yaml_parse(text), self.plain)
        self.assertFalse([event for event in yaml.parse(text) if isinstance(event, yaml.AliasEvent)])
        kinds = {resource["Type"] for resource in self.plain["Resources"].values()}
        self.assertFalse([kind for kind in kinds if "Serverless" in kind])
        for word in ("Transform", "Fn::Transform", "BuildMethod", "SamResourceId", "Fn::ForEach"):
            self.assertNotIn(word, text)

    def test_the_code_has_the_version_and_the_architecture_of_the_stack_unless_a_key_is_given(self):
        for architecture, key, wanted in [
            ("x86_64", "", f"apigw-rollback/{self.version}/apigw-rollback-function-x86_64.zip"),
            ("arm64", "", f"apigw-rollback/{self.version}/apigw-rollback-function-arm64.zip"),
            ("arm64", "assets/0a1b.zip", "assets/0a1b.zip"),
        ]:
            function = self.stack(Architecture=architecture, CodeKey=key).resources("AWS::Lambda::Function")["RollbackFunction"]
            self.assertEqual(function["Code"], {"S3Bucket": "code", "S3Key": wanted})
            self.assertEqual(function["Architectures"], [architecture])
            if not key:
                self.assertEqual(templates.key_of(self.version, architecture), wanted)

    def test_a_zip_of_a_release_for_the_other_architecture_is_refused(self):
        for of, wanted in itertools.product(BOTH, BOTH):
            for key in (templates.zip_of(of), templates.key_of(self.version, of)):
                broken = self.broken(Architecture=wanted, CodeKey=key)
                self.assertEqual(len(broken), 0 if of == wanted else 1, f"{key} for {wanted}")
                self.assertTrue(of == wanted or f"is for {of}, and Architecture is {wanted}" in broken[0], broken)
        self.assertEqual(self.broken(), [])

    def test_only_architectures_with_code_are_allowed(self):
        for built in (["x86_64"], ["arm64"], BOTH):
            for template in (templates.plain(built), templates.for_sam(built[0])):
                parameter = template["Parameters"]["Architecture"]
                self.assertEqual(parameter["AllowedValues"][0], parameter["Default"])
                self.assertIn(parameter["Default"], parameter["ConstraintDescription"])
            self.assertEqual(templates.plain(built)["Parameters"]["Architecture"]["AllowedValues"], built)

    def test_what_cannot_be_a_bucket_or_a_zip_is_refused(self):
        for name, value, fits in [
            ("CodeBucket", "orders-code", True), ("CodeBucket", "", False), ("CodeBucket", "s3://code", False),
            ("CodeBucket", "Code", False), ("CodeKey", "", True), ("CodeKey", "a/b c.zip", False),
            ("CodeKey", "0a1b.zip", True), ("CodeKey", "bootstrap", False),
        ]:
            found = re.search(self.plain["Parameters"][name]["AllowedPattern"], value)
            self.assertEqual(bool(found), fits, f"{name} {value}")
        self.assertNotIn("Default", self.plain["Parameters"]["CodeBucket"])

    def test_the_form_of_the_console_has_every_parameter(self):
        groups = self.plain["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        shown = [name for group in groups for name in group["Parameters"]]
        self.assertEqual(sorted(shown), sorted(self.plain["Parameters"]))

    def test_the_sam_template_is_the_source_with_the_zip_beside_it(self):
        for architecture in BOTH:
            got, source = templates.for_sam(architecture), templates.source()
            function = got["Resources"]["RollbackFunction"]
            self.assertEqual(function["Properties"].pop("CodeUri"), f"./apigw-rollback-function-{architecture}.zip")
            self.assertEqual(set(function.pop("Metadata")), {"checkov"})
            wanted = source["Resources"]["RollbackFunction"]
            del wanted["Properties"]["CodeUri"], wanted["Metadata"]
            del got["Parameters"]["Architecture"], source["Parameters"]["Architecture"]
            self.assertEqual(got, source)

    def test_cfn_lint_finds_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            files = {"plain.yaml": self.plain, "sam.yaml": templates.for_sam("x86_64")}
            for name, template in files.items():
                (Path(folder) / name).write_text(templates.written(template))
            command = [ROOT / ".tools/cfn-lint/bin/cfn-lint", *(Path(folder) / name for name in files)]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            self.assertEqual((ran.returncode, ran.stdout), (0, ""))

    def test_the_serverless_application_repository_gets_every_field_in_its_form(self):
        """`sam publish` sends the packaged template, in which the texts and the code are in a bucket."""
        template = templates.for_sam("x86_64")
        metadata = template["Metadata"]["AWS::ServerlessRepo::Application"]
        for field in ("LicenseUrl", "ReadmeUrl"):
            self.assertTrue((ROOT / metadata[field]).is_file(), field)
            metadata[field] = f"s3://bucket/{metadata[field]}"
        template["Resources"]["RollbackFunction"]["Properties"]["CodeUri"] = "s3://bucket/code"
        client = Recorder()
        published = publish_application(templates.written(template), client)
        (sent,) = client.calls
        self.assertIn("CREATE_APPLICATION", published["actions"])
        self.assertEqual(sent["SemanticVersion"], self.version)
        needed = {"Author", "Description", "Name", "SpdxLicenseId", "LicenseUrl", "ReadmeUrl", "Labels", "TemplateBody"}
        self.assertEqual(needed - set(sent), set())
        # The limits in the description of the service, which its model does not have.
        self.assertRegex(sent["Name"], r"^[A-Za-z0-9-]{1,140}$")
        self.assertRegex(sent["Author"], r"^[A-Za-z0-9](?:[A-Za-z0-9]|-(?=[A-Za-z0-9])){0,126}$")
        self.assertLessEqual(len(sent["Description"]), 256)
        self.assertLessEqual(len(sent["Labels"]), 10)
        for label in sent["Labels"]:
            self.assertRegex(label, r"^[A-Za-z0-9+_:/@-]{1,127}$")
        self.assertNotIn("AWS::ServerlessRepo::Application", sent["TemplateBody"])


if __name__ == "__main__":
    unittest.main()
