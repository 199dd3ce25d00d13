"""The workflow that releases lints clean, pins what it uses, and gives each job only the permissions that it needs."""

import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml
from context import ROOT

WORKFLOW = ROOT / ".github/workflows/release.yml"
LINTERS = {
    "actionlint": [ROOT / ".tools/actionlint/bin/actionlint", "-no-color"],
    "zizmor": [ROOT / ".tools/actions/bin/zizmor", "--offline", "--no-progress", "--persona=pedantic"],
}


def findings(linter, text):
    """Returns the status and the output of a linter for a workflow with this text."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ".github" / "workflows" / "release.yml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
        ran = subprocess.run([*LINTERS[linter], file], cwd=folder, capture_output=True, text=True, check=False)
        return ran.returncode, ran.stdout + ran.stderr


class Workflow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = WORKFLOW.read_text()
        cls.jobs = yaml.safe_load(cls.text)["jobs"]

    def test_the_linters_find_nothing(self):
        for linter in LINTERS:
            status, output = findings(linter, self.text)
            self.assertEqual(status, 0, output)

    def test_each_linter_finds_a_flaw(self):
        for linter, right, wrong in [
            ("actionlint", "needs: build", "needs: nothing"),
            ("zizmor", "permissions: {}", "permissions: write-all"),
        ]:
            self.assertIn(right, self.text)
            status, output = findings(linter, self.text.replace(right, wrong))
            self.assertNotEqual(status, 0, output)

    def test_every_action_is_pinned_by_its_commit(self):
        used = re.findall(r"uses: (\S+)", self.text)
        self.assertEqual(len(used), 4)
        for action in used:
            self.assertRegex(action, r"^actions/[a-z-]+@[0-9a-f]{40}$")

    def test_the_job_that_compiles_cannot_write_and_the_job_that_writes_compiles_nothing(self):
        self.assertEqual(self.jobs["build"]["permissions"], {"contents": "read"})
        commands = [step.get("run", "") for step in self.jobs["attach"]["steps"]]
        self.assertFalse([one for one in commands if re.search(r"\b(make|cargo|pip|npm)\b", one)])

    def test_every_make_target_exists(self):
        targets = re.findall(r"\bmake ([a-z-]+)", self.text)
        self.assertEqual(targets, ["dist", "dist-twice"])
        makefile = (ROOT / "Makefile").read_text()
        for target in targets:
            self.assertRegex(makefile, rf"(?m)^{target}:")


if __name__ == "__main__":
    unittest.main()
