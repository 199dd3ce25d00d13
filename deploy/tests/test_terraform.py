"""The Terraform module against the template, planned as far as that needs no provider.

variables.tf, parameters.tf and release.tf decide what reaches the stack, and need no provider. The tests plan them with
an output in place of main.tf. They cannot check main.tf's arguments against the schema of the AWS provider.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import release
from parameters import LIST, MAP, NUMBER, OF_RELEASE, SWITCH, parameters, version

MODULE = release.ROOT / "deploy" / "terraform"
PYTHON = release.ROOT / ".tools" / "terraform" / "bin" / "python"
PROVIDERLESS = ("variables.tf", "parameters.tf", "release.tf")
HARNESS = """
locals {
  template_text = var.dist == null ? null : file("${var.dist}/template.yaml")
}

output "parameters" {
  value = local.parameters

  precondition {
    condition     = length(local.problems) == 0
    error_message = join("\\n", local.problems)
  }
}
"""
API = {"api_id": "a1b2c3d4e5", "api_name": "orders"}

# What a caller gives, and the sentence that refuses it. The values are those of a caller with a good release.
REFUSED = [
    ({"protocol": "SOAP"}, "Protocol must be one of REST, HTTP, WEBSOCKET."),
    ({"api_id": "A-B"}, "ApiId must be the id of an API, such as a1b2c3d4e5, or empty for a sample API."),
    ({"api_name": "x" * 256}, "ApiName can have at most 255 characters."),
    ({"stage_name": "a/b"}, "StageName must be 1 to 117 letters, digits, hyphens and underscores; or $default"),
    ({"functions": ["arn:aws:lambda:x"]}, "Functions must be up to 100 names of Lambda functions, not ARNs"),
    ({"functions": [f"f{n}" for n in range(101)]}, "Functions must be up to 100 names of Lambda functions"),
    ({"parameter_prefix": "/AWS-rollback"}, "and not /aws or /ssm."),
    ({"parameter_prefix": "rollback"}, "ParameterPrefix must be one to five path segments"),
    ({"alarm_prefixes": ["orders-", " "]}, "AlarmPrefixes must be starts of alarm names"),
    ({"siblings": ["euwest12345"]}, "Siblings must be up to four Regions such as eu-west-1"),
    ({"alarm_period_seconds": 61}, "AlarmPeriodSeconds must be one of 60, 120,"),
    ({"error_rate_threshold": 5}, "ErrorRateThreshold must be at least 0 and at most 1."),
    ({"bake_seconds": -1}, "BakeSeconds must be at least 0 and at most 604800."),
    ({"tags": {f"t{n}": "x" for n in range(51)}}, "Tags must be at most 50 tags such as team=orders"),
    ({"tags": {"team": "a,b"}}, "Tags must be at most 50 tags such as team=orders"),
    ({"flush_cache": "maybe"}, "a bool is required"),
    ({"bake_seconds": "soon"}, "a number is required"),
    ({"release_version": "v1.2.3"}, "Give a version such as 1.2.3, without a v."),
    ({"name": "9lives"}, "begins with a letter"),
    ({"dist": "/nowhere"}, "This folder has no template.yaml."),
    ({"api_name": ""}, "Give both ApiId and ApiName to protect a REST API"),
    ({"protocol": "WEBSOCKET", "api_id": "", "api_name": ""}, "There is no sample WebSocket API."),
    ({"protocol": "HTTP", "flush_cache": True}, "Only a REST API has caches to flush."),
    ({"stage_name": "$default"}, "Only an HTTP API can have the stage $default."),
    ({"base_path": "orders"}, "BasePath is a path of the domain in DomainName."),
    ({"notification_email": "a@b.example", "notification_topic_arn": "arn:aws:sns:eu-west-1:123456789012:t"},
     "Give NotificationEmail or NotificationTopicArn, not both."),
    ({"release_version": "7.7.7"}, f"The template is of release {version()}, not 7.7.7."),
    ({"architecture": "arm64"}, "missing, or differ from SHA256SUMS: apigw-rollback-function-arm64.zip."),
]


def terraform(folder, *arguments):
    env = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "AWS_"))}
    ran = subprocess.run([PYTHON, release.ROOT / "deploy" / "terraform.py", f"-chdir={folder}", *arguments],
                         capture_output=True, text=True, env=env, check=False)
    # Terraform wraps its messages and draws a frame around them.
    return ran.returncode, " ".join(re.sub(r"[│╷╵]", " ", ran.stdout + ran.stderr).split())


class Terraform(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = Path(tempfile.mkdtemp(prefix="apigw-rollback-terraform-"))
        cls.addClassCleanup(shutil.rmtree, cls.work)
        cls.template = release.plain()
        cls.dist = release.write(cls.work / "dist", cls.template)
        cls.module = cls.work / "module"
        cls.module.mkdir()
        for name in PROVIDERLESS:
            shutil.copy(MODULE / name, cls.module / name)
        (cls.module / "main.tf").write_text(HARNESS)
        status, said = terraform(cls.module, "init", "-input=false", "-no-color")
        assert status == 0, said

    def plan(self, values):
        (self.module / "case.tfvars.json").write_text(json.dumps(values))
        return terraform(self.module, "plan", "-input=false", "-no-color", "-lock=false",
                         "-var-file=case.tfvars.json", "-out=case.plan")

    def planned(self, values):
        status, said = self.plan({"bucket": "releases", "dist": str(self.dist), **values})
        self.assertEqual(status, 0, said)
        status, said = terraform(self.module, "show", "-json", "case.plan")
        self.assertEqual(status, 0, said)
        return json.loads(said)["planned_values"]["outputs"]["parameters"]["value"]

    def assert_refused(self, values, sentence):
        status, said = self.plan({"bucket": "releases", "dist": str(self.dist), **API, **values})
        self.assertNotEqual(status, 0, values)
        self.assertIn(sentence, said)

    def test_the_code_has_terraforms_format(self):
        status, said = terraform(MODULE, "fmt", "-check", "-recursive")
        self.assertEqual((status, said), (0, ""))

    def test_the_module_and_its_examples_have_no_error_but_the_missing_provider(self):
        copy = self.work / "copy"
        shutil.copytree(MODULE, copy, ignore=shutil.ignore_patterns(".terraform*"))
        for folder in (copy, *sorted((copy / "examples").iterdir())):
            status, said = terraform(folder, "get", "-no-color")
            self.assertEqual(status, 0, said)
            status, said = terraform(folder, "validate", "-json")
            found = [one["summary"] for one in json.loads(said)["diagnostics"]]
            self.assertEqual((status, set(found)), (1, {"Missing required provider"}), said)

    def test_every_name_in_the_module_is_declared(self):
        # Terraform resolves names only with the provider.
        text = "\n".join(file.read_text() for file in MODULE.glob("*.tf"))
        declared = {f"var.{name}" for name in re.findall(r'^variable "(\w+)"', text, re.MULTILINE)}
        for block in re.findall(r"^locals \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
            declared |= {f"local.{name}" for name in re.findall(r"^  (\w+) +=", block, re.MULTILINE)}
        for kind, of, name in re.findall(r'^(resource|data) "(\w+)" "(\w+)"', text, re.MULTILINE):
            declared.add(f"{'data.' if kind == 'data' else ''}{of}.{name}")
        used = set(re.findall(r"\b(?:var|local)\.[a-z_]+[0-9a-z_]*|(?:\bdata\.)?\baws_[a-z0-9_]+\.\w+", text))
        self.assertEqual(used - declared, set())
        self.assertGreater(len(used), 50)

    def test_the_defaults_are_those_of_the_template(self):
        self.assertEqual(self.planned({}), {one.name: one.plain for one in parameters()})

    def test_every_parameter_of_the_template_can_be_set(self):
        template = self.template["Parameters"]
        self.assertEqual(set(self.planned({})), set(template) - set(OF_RELEASE))
        given = {one.snake: value for one, value, _ in self.settable()}
        planned = self.planned({**API, **given})
        for one, _, plain in self.settable():
            self.assertEqual(planned[one.name], plain, one.name)
        # The others are texts of a form of their own; the tests of refusals and the defaults cover them.
        self.assertGreater(len(given), len(self.template["Parameters"]) // 2)

    @staticmethod
    def settable():
        """Returns a value other than the default for each parameter whose kind allows one without further knowledge."""
        kinds = {SWITCH: lambda one: (not one.default, "off" if one.default else "on"),
                 LIST: lambda _: (["eu-west-1", "us-east-1"], "eu-west-1,us-east-1"),
                 MAP: lambda _: ({"team": "orders", "cost-center": "42"}, "cost-center=42,team=orders")}
        found = []
        for one in parameters():
            if one.kind in kinds:
                found.append((one, *kinds[one.kind](one)))
            elif one.kind == NUMBER:
                value = next(each for each in (*one.allowed, one.highest, one.lowest, 7) if each not in (None, one.default))
                found.append((one, value, str(value)))
            elif one.allowed and one.name not in ("Protocol", "Architecture"):
                value = next(each for each in one.allowed if each != one.default)
                found.append((one, value, value))
        return found

    def test_the_built_release_is_accepted(self):
        built = release.real()
        self.assertIsNotNone(built, "there is no built release: run `make doors`, which builds one")
        self.assertEqual(self.planned({**API, "dist": str(built.resolve())})["ApiId"], API["api_id"])

    def test_what_breaks_a_rule_of_the_template_is_refused_in_the_plan(self):
        for values, sentence in REFUSED:
            with self.subTest(values=values):
                self.assert_refused(values, sentence)

    def test_a_release_that_is_older_or_newer_than_the_module_is_refused_in_the_plan(self):
        old = release.write(self.work / "old", release.older(self.template))
        self.assert_refused({"dist": str(old)}, f"The template is of release 0.0.9, not {version()}.")
        # Whoever gives the older release's number meets its missing parameter.
        self.assert_refused({"dist": str(old), "release_version": "0.0.9"},
                            "The template lacks parameters that this module sets: ConvictAlpha.")
        new = release.write(self.work / "new", release.newer(self.template))
        self.assert_refused({"dist": str(new), "release_version": "9.0.0"},
                            "The template has parameters that this module does not know: FromTheFuture.")

    def test_a_damaged_release_is_refused_in_the_plan(self):
        for what, damage in {
            "changed": lambda folder: (folder / release.ZIP).write_bytes(b"other"),
            "no zip": lambda folder: (folder / release.ZIP).unlink(),
            "no sums": lambda folder: (folder / "SHA256SUMS").unlink(),
        }.items():
            with self.subTest(what):
                folder = release.write(self.work / what, self.template)
                damage(folder)
                self.assert_refused({"dist": str(folder)}, f"differ from SHA256SUMS:")
        text = release.write(self.work / "text", self.template)
        (text / "template.yaml").write_text("<html>not found</html>")
        self.assert_refused({"dist": str(text)}, "The release has no readable template.yaml.")

    def test_a_variable_that_the_module_does_not_have_is_refused(self):
        caller = self.work / "caller"
        caller.mkdir()
        (caller / "main.tf").write_text(
            'module "rollback" {\n  source = "../module"\n  bucket = "releases"\n  bake_hours = 3\n}\n')
        # Newer versions of Terraform refuse it already here.
        status, said = terraform(caller, "init", "-input=false", "-no-color")
        if status == 0:
            status, said = terraform(caller, "validate", "-no-color")
        self.assertNotEqual(status, 0)
        self.assertIn('An argument named "bake_hours" is not expected here.', said)

    def test_the_examples_give_the_module_only_variables_that_it_has(self):
        known = set(re.findall(r'^variable "(\w+)"', (MODULE / "variables.tf").read_text(), re.MULTILINE))
        for example in sorted((MODULE / "examples").glob("*/main.tf")):
            (call,) = re.findall(r'^module "rollback" \{\n(.*?)^\}', example.read_text(), re.MULTILINE | re.DOTALL)
            given = set(re.findall(r"^  (\w+) +=", call, re.MULTILINE)) - {"source"}
            self.assertLessEqual(given, known, example)
            self.assertIn("bucket", given, example)

    def test_the_stack_is_not_planned_with_problems(self):
        main = (MODULE / "main.tf").read_text()
        for kind in ("aws_s3_object", "aws_cloudformation_stack"):
            for block in re.findall(rf'^resource "{kind}".*?^}}', main, re.MULTILINE | re.DOTALL):
                self.assertIn("condition     = length(local.problems) == 0", block)


if __name__ == "__main__":
    unittest.main()
