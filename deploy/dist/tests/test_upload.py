"""upload.sh checks the files and the bucket before it uploads anything. A stand-in for the AWS CLI keeps the calls."""

import hashlib
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from context import ROOT

AWS = """#!/usr/bin/env bash
echo "$*" >>"$CALLS"
case "$1 $2" in
"configure get") [[ -n $PROFILE_REGION ]] && echo "$PROFILE_REGION" ;;
"s3api get-bucket-location") [[ $HOME_OF_BUCKET == none ]] && { echo "NoSuchBucket" >&2; exit 254; }; echo "$HOME_OF_BUCKET" ;;
esac
"""
ZIPS = ["apigw-rollback-function-arm64.zip", "apigw-rollback-function-x86_64.zip"]


class Upload(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.folder, self.calls = Path(made.name), Path(made.name) / "calls"
        (self.folder / "bin").mkdir()
        (self.folder / "bin" / "aws").write_text(AWS)
        (self.folder / "bin" / "aws").chmod(0o755)
        self.script = self.folder / "upload.sh"
        self.script.write_text((ROOT / "deploy/dist/upload.sh").read_text().replace("@VERSION@", "1.2.3"))
        self.script.chmod(0o755)
        files = ["template.yaml", *ZIPS]
        for name in files:
            (self.folder / name).write_text(name)
        sums = [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in files]
        (self.folder / "SHA256SUMS").write_text("".join(sums))

    def run_with(self, home, *arguments, **env):
        self.calls.write_text("")
        env = {"PATH": f"{self.folder}/bin:/usr/bin:/bin", "CALLS": str(self.calls), "HOME_OF_BUCKET": home,
               "PROFILE_REGION": "", **env}
        # From another folder, as a pipeline may call it.
        ran = subprocess.run([self.script, *arguments], cwd="/", env=env, capture_output=True, text=True, check=False)
        return ran, [line for line in self.calls.read_text().splitlines() if line.startswith("s3 ")]

    def test_the_code_goes_to_the_key_that_the_template_expects(self):
        for home, env in [
            ("eu-west-1", {"AWS_REGION": "eu-west-1"}),
            ("EU", {"AWS_REGION": "eu-west-1"}),
            ("None", {"AWS_REGION": "us-east-1"}),
            ("eu-west-1", {"AWS_DEFAULT_REGION": "eu-west-1"}),
            ("eu-west-1", {"PROFILE_REGION": "eu-west-1"}),
            ("eu-west-1", {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1", "PROFILE_REGION": "us-east-1"}),
        ]:
            ran, uploads = self.run_with(home, "code", **env)
            self.assertEqual((ran.returncode, ran.stderr), (0, ""), env)
            wanted = [f"s3 cp --only-show-errors {name} s3://code/apigw-rollback/1.2.3/{name}" for name in ZIPS]
            self.assertEqual(uploads, wanted)
            self.assertIn("CodeBucket=code", ran.stdout)

    def test_a_mistake_is_reported_and_nothing_is_uploaded(self):
        here = {"AWS_REGION": "eu-west-1"}
        for home, arguments, env, why in [
            ("us-east-1", ["code"], here, "the bucket code is in us-east-1, and the stack would be in eu-west-1"),
            ("None", ["code"], here, "the bucket code is in us-east-1"),
            ("none", ["code"], here, "the Region of the bucket code cannot be read"),
            ("eu-west-1", ["code"], {}, "no Region is set: set AWS_REGION"),
            ("eu-west-1", [], here, "give the name of a bucket"),
            ("eu-west-1", ["code", "more"], here, "give the name of a bucket"),
            ("eu-west-1", ["--help"], here, "give the name of a bucket"),
            ("eu-west-1", ["code"], here | {"PATH": "/nowhere"}, None),
        ]:
            ran, uploads = self.run_with(home, *arguments, **env)
            self.assertNotEqual(ran.returncode, 0, why)
            self.assertEqual(uploads, [], why)
            if why:
                self.assertTrue(ran.stderr.splitlines()[-1].startswith(f"error: {why}"), ran.stderr)

    def test_a_file_that_is_changed_missing_or_of_another_release_is_refused(self):
        def change(name):
            (self.folder / name).write_text("another release")

        for what, damage, name in [
            ("a changed zip", lambda: change(ZIPS[1]), ZIPS[1]),
            ("a changed template", lambda: change("template.yaml"), "template.yaml"),
            ("a zip that the release does not have", lambda: change("apigw-rollback-function-riscv.zip"), "riscv.zip"),
            ("no template", (self.folder / "template.yaml").unlink, "template.yaml"),
            ("no checksums", (self.folder / "SHA256SUMS").unlink, "template.yaml"),
        ]:
            with self.subTest(what):
                self.setUp()
                damage = (self.folder / damage.__self__.name).unlink if hasattr(damage, "__self__") else damage
                damage()
                ran, uploads = self.run_with("eu-west-1", "code", AWS_REGION="eu-west-1")
                self.assertEqual((ran.returncode, uploads), (1, []))
                self.assertIn(name, ran.stderr)
                self.assertIn("is not the file of this release: download the release again", ran.stderr)


if __name__ == "__main__":
    unittest.main()
