"""The whole Terraform module, planned with a stand-in for each resource of the AWS provider.

A stand-in is a resource that Terraform itself has, and takes the arguments as they are. So the plan shows which stack
the module asks for and what it refuses, but not whether the provider knows the arguments.
"""

import json
import re
import shutil
import tempfile
import unittest
from pathlib import Path

import release
import templates
from parameters import version
from test_terraform import API, MODULE, PROVIDERLESS, terraform

# What the data sources would read, and the names that main.tf has for it.
READ = {
    "data.aws_region.current.id": "var.read.region",
    "data.aws_s3_bucket.release.bucket_regional_domain_name": "var.read.domain",
    "data.aws_s3_object.template[0].body": "var.read.body",
    "data.aws_s3_object.template[0].key": '"${local.folder}/template.yaml"',
    "data.aws_s3_object.code[0].key": '"${local.folder}/${local.zip}"',
}
MORE = """
variable "read" {
  type = object({ region = string, domain = string, body = string })
}

output "stack" {
  value = terraform_data.cloudformation_stack_this.input
}

output "uploaded" {
  value = [for one in concat(terraform_data.s3_object_template, terraform_data.s3_object_code) : one.input.key]
}
"""
BUCKET = "releases.s3.eu-west-1.amazonaws.com"


def stand_in(block):
    """Writes a resource of the AWS provider as one of Terraform's own, with the arguments as its input."""
    kind, name, body = block.groups()
    body, *lifecycle = re.split(r"^(?=  lifecycle \{$)", body, flags=re.MULTILINE)
    count = re.findall(r"^  count = .*$", body, re.MULTILINE)
    arguments = re.sub(r"^  count = .*\n", "", body, flags=re.MULTILINE)
    return "\n".join([f'resource "terraform_data" "{kind}_{name}" {{', *count, f"  input = {{\n{arguments}\n  }}", *lifecycle, "}"])


def without_provider(main):
    main = re.sub(r'^data "\w+" "\w+" \{(?:\}|\n.*?^\})\n', "", main, flags=re.MULTILINE | re.DOTALL)
    for name, replacement in READ.items():
        assert name in main, f"main.tf does not use {name}"
        main = main.replace(name, replacement)
    main = re.sub(r'^resource "aws_(\w+)" "(\w+)" \{\n(.*?)^\}$', stand_in, main, flags=re.MULTILINE | re.DOTALL)
    main = re.sub(r"\baws_(\w+)\.(\w+)\[0\]\.", r"terraform_data.\1_\2[0].input.", main)
    assert "aws_" not in main, main
    return main


class Stack(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = Path(tempfile.mkdtemp(prefix="apigw-rollback-stack-"))
        cls.addClassCleanup(shutil.rmtree, cls.work)
        cls.template = release.plain()
        cls.dist = release.write(cls.work / "dist", cls.template)
        cls.module = cls.work / "module"
        cls.module.mkdir()
        for name in PROVIDERLESS:
            shutil.copy(MODULE / name, cls.module / name)
        (cls.module / "main.tf").write_text(without_provider((MODULE / "main.tf").read_text()) + MORE)
        status, said = terraform(cls.module, "init", "-input=false", "-no-color")
        assert status == 0, said

    def plan(self, values, body="", domain=BUCKET):
        read = {"region": "eu-west-1", "domain": domain, "body": body}
        (self.module / "case.tfvars.json").write_text(json.dumps({"bucket": "releases", "read": read, **API, **values}))
        return terraform(self.module, "plan", "-input=false", "-no-color", "-lock=false", "-var-file=case.tfvars.json",
                         "-out=case.plan")

    def planned(self, values, **more):
        status, said = self.plan(values, **more)
        self.assertEqual(status, 0, said)
        outputs = json.loads(terraform(self.module, "show", "-json", "case.plan")[1])["planned_values"]["outputs"]
        return outputs["stack"]["value"], outputs["uploaded"]["value"]

    def assert_refused(self, sentence, values, **more):
        status, said = self.plan(values, **more)
        self.assertNotEqual(status, 0)
        self.assertIn(sentence, said)

    def test_a_local_release_is_uploaded_under_its_checksum_and_deployed_from_there(self):
        stack, uploaded = self.planned({"dist": str(self.dist), "tags": {"team": "orders"}})
        sums = dict(reversed(line.split()) for line in (self.dist / "SHA256SUMS").read_text().splitlines())
        folder = f"apigw-rollback/{version()}/{sums[release.ZIP][:12]}"
        self.assertEqual(uploaded, [f"{folder}/template.yaml", f"{folder}/{release.ZIP}"])
        self.assertEqual(stack["template_url"], f"https://{BUCKET}/{folder}/template.yaml")
        self.assertEqual(stack["capabilities"], ["CAPABILITY_IAM"])
        self.assertEqual(stack["tags"], {"team": "orders"})
        given = stack["parameters"]
        self.assertEqual((given["CodeBucket"], given["CodeKey"]), ("releases", f"{folder}/{release.ZIP}"))
        self.assertEqual((given["ApiId"], given["Tags"]), (API["api_id"], "team=orders"))
        # CloudFormation refuses a stack whose parameters are not those of the template.
        self.assertEqual(set(given), set(self.template["Parameters"]))

    def test_a_release_in_the_bucket_is_deployed_from_the_place_where_upload_sh_puts_it(self):
        stack, uploaded = self.planned({}, body=templates.written(self.template))
        self.assertEqual(uploaded, [])
        self.assertEqual(stack["template_url"], f"https://{BUCKET}/apigw-rollback/{version()}/template.yaml")
        self.assertEqual(stack["parameters"]["CodeKey"], templates.key_of(version(), "x86_64"))

    def test_a_bucket_in_another_region_is_refused_in_the_plan(self):
        self.assert_refused("The bucket releases is not in eu-west-1. Lambda reads code only from a bucket in its own Region",
                            {"dist": str(self.dist)}, domain="releases.s3.us-east-1.amazonaws.com")

    def test_a_wrong_template_in_the_bucket_is_refused_in_the_plan(self):
        self.assert_refused("The release has no readable template.yaml.", {}, body="")
        self.assert_refused(f"The template is of release 0.0.9, not {version()}.", {},
                            body=templates.written(release.older(self.template)))

    def test_nothing_is_uploaded_if_the_stack_would_be_refused(self):
        self.assert_refused('on main.tf line', {"dist": str(self.dist), "base_path": "orders"})
        _, said = self.plan({"dist": str(self.dist), "base_path": "orders"})
        for kind in ("s3_object_template", "s3_object_code"):
            self.assertIn(f'in resource "terraform_data" "{kind}"', said)


if __name__ == "__main__":
    unittest.main()
