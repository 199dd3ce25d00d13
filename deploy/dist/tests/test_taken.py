"""`make demo DIST=folder` takes only a whole and unchanged release with code for this machine."""

import hashlib
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from context import ROOT

TAKE = """
import sys, stack
try:
    print(stack.released_template(stack.release(), sys.argv[1]))
except stack.StepFailed as failure:
    sys.exit(f"error: {failure}")
"""
FILES = ("template-sam.yaml", "apigw-rollback-function-x86_64.zip")


class Taken(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.folder = Path(made.name).resolve()
        for name in FILES:
            (self.folder / name).write_text(name)
        sums = [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in FILES]
        (self.folder / "SHA256SUMS").write_text("".join(sums))

    def take(self, architecture="x86_64", folder=None):
        env = os.environ | {"DIST": str(folder or self.folder)}
        ran = subprocess.run([sys.executable, "-c", TAKE, architecture], cwd=ROOT / "tests/e2e", env=env,
                             capture_output=True, text=True, check=False)
        return ran.returncode, ran.stdout.strip() or ran.stderr.strip()

    def test_a_whole_release_is_taken(self):
        self.assertEqual(self.take(), (0, str(self.folder / "template-sam.yaml")))

    def test_what_is_no_whole_release_is_refused(self):
        for what, damage, why in [
            ("a changed zip", lambda: (self.folder / FILES[1]).write_text("older"), f"{FILES[1]} is missing or differs"),
            ("a template of another release", lambda: (self.folder / FILES[0]).write_text("x"), f"{FILES[0]} is missing or"),
            ("no zip", lambda: (self.folder / FILES[1]).unlink(), f"{FILES[1]} is missing or differs"),
            ("no checksums", lambda: (self.folder / "SHA256SUMS").unlink(), "has no release: `make dist` builds one"),
        ]:
            with self.subTest(what):
                self.setUp()
                damage()
                status, said = self.take()
                self.assertEqual(status, 1)
                self.assertIn(why, said)
        status, said = self.take(folder="/nowhere")
        self.assertEqual((status, "/nowhere has no release" in said), (1, True), said)

    def test_a_release_without_code_for_this_machine_is_refused(self):
        status, said = self.take("arm64")
        self.assertEqual((status, "has no code for this machine's architecture, arm64" in said), (1, True), said)


if __name__ == "__main__":
    unittest.main()
