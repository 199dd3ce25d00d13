"""checkov finds only what the template justifies, and nothing about encryption if there is a key."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from stack import ROOT, Stack, source, translated

# The checks that pass only with a key.
ENCRYPTION = {"CKV_AWS_26", "CKV_AWS_27", "CKV_AWS_158"}


def checked(*files):
    """Returns the failed and the skipped checks of each file, by check and resource."""
    command = [ROOT / ".tools/checkov/bin/checkov", "--framework", "cloudformation", "--output", "json"]
    # Without this it downloads texts about its checks.
    command += ["--skip-download", "--soft-fail"]
    for file in files:
        command += ["--file", str(file)]
    quiet = os.environ | {"LOG_LEVEL": "ERROR"}
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=quiet)
    results = json.loads(answer.stdout)["results"]
    assert not results["parsing_errors"], results["parsing_errors"]
    assert results["passed_checks"], "checkov checked nothing"
    found = {file.name: ({}, {}) for file in files}
    for nth, kind in enumerate(("failed_checks", "skipped_checks")):
        for one in results[kind]:
            name = one["resource"].rsplit(".", 1)[-1]
            comment = one["check_result"].get("suppress_comment", "")
            found[Path(one["file_path"]).name][nth][one["check_id"], name] = comment
    return found


class Checkov(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        everything = {"NotificationEmail": "people@example.com", "KmsKey": "create", "ReservedConcurrency": "1"}
        cls.justified = {
            (skip["id"], name): skip["comment"]
            for name, resource in source()["Resources"].items()
            for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
        }
        with tempfile.TemporaryDirectory() as folder:
            files = [ROOT / "template.yaml"]
            for protocol in ("REST", "HTTP"):
                stack = Stack(everything | {"Protocol": protocol}, translated())
                resources = {name: stack.resource(name) for name in stack.resources()}
                files.append(Path(folder) / f"{protocol}.json")
                files[-1].write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}))
            cls.found = checked(*files)

    def test_the_template_fails_no_check_and_every_exception_is_justified_and_needed(self):
        failed, skipped = self.found["template.yaml"]
        self.assertEqual(failed, {})
        self.assertEqual(skipped, self.justified)
        for exception, why in self.justified.items():
            self.assertTrue(why.strip(), exception)

    def test_with_a_key_checkov_finds_nothing_about_encryption(self):
        for name in ("REST.json", "HTTP.json"):
            failed, _ = self.found[name]
            self.assertEqual(set(failed) - set(self.justified), set(), name)
            self.assertEqual({check for check, _ in failed} & ENCRYPTION, set(), name)
            known = ("CKV_AWS_173", "RollbackFunction")
            self.assertIn(known, failed, "checkov did not report a finding that the template justifies")


if __name__ == "__main__":
    unittest.main()
