"""The GitHub Action, run as GitHub runs it, with a command line that notes how it was called."""

import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import release
from parameters import version
from samtranslator.yaml_helper import yaml_parse

ACTION = release.ROOT / "deploy" / "action"
PROGRAM = "apigw-rollback-x86_64-linux"
REPORT = {"schema": 1, "outcome": "recorded", "message": "Recorded d2 as version 2", "warnings": ["the pin is late"]}
FINDINGS = {"schema": 1, "worst": "warning", "findings": [
    {"check": "mode", "level": "ok", "message": "enforces", "next": ""},
    {"check": "hold", "level": "warning", "message": "held\nuntil | noon", "next": "Release it."},
]}
FAULT = {"schema": 1, "worst": "fault", "findings": [
    {"check": "topic", "level": "fault", "message": "no subscription", "next": "Deploy the stack again."}]}
STUB = """#!{python}
import json, os, sys
if sys.argv[1:] == ["--version"]:
    print("apigw-rollback {version}")
    sys.exit()
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
sys.stdout.write(os.environ["ANSWER"])
sys.stderr.write("error: from the command line\\n")
sys.exit(int(os.environ["STATUS"]))
"""

RECORD = {"command": "record", "stage": "orders/prod"}
# The inputs, and the sentence that refuses them before anything is fetched or run.
REFUSED = [
    ({"command": "rollout"}, "The command 'rollout' does not exist. Give one of doctor, record, promote, announce, "
     "rollout-start, rollout-wait."),
    ({"command": ""}, "The command '' does not exist."),
    ({"command": "record"}, "record needs a stage."),
    (RECORD | {"stage": "orders"}, "The stage 'orders' is not API/STAGE."),
    (RECORD | {"stage": "--force/prod"}, "is not API/STAGE."),
    (RECORD | {"irreversible": "yes"}, "irreversible is 'yes'. Give true or false."),
    (RECORD | {"command": "promote", "label": "v1"}, "promote takes no label. Remove it, or use record or announce or rollout-start."),
    (RECORD | {"steps": "5,25"}, "record takes no steps. Remove it, or use rollout-start."),
    (RECORD | {"command": "rollout-start", "timeout": "2h"}, "rollout-start takes no timeout. Remove it, or use rollout-wait."),
    (RECORD | {"command": "doctor", "irreversible": "true"}, "doctor takes no irreversible."),
    (RECORD | {"note": "x" * 501}, "The note is longer than 500 bytes."),
    (RECORD | {"command": "announce"}, "announce has nothing to announce."),
    (RECORD | {"command": "doctor", "accept": "fault"}, "accept is 'fault'. Give one of ok, warning, not-checked."),
    (RECORD | {"version": "latest"}, "The version 'latest' is none."),
    (RECORD | {"sha256": "abc"}, "sha256 is not a SHA-256 checksum."),
]
# The inputs, and the arguments of the command line.
CALLS = [
    (RECORD | {"label": "v1.4.2", "note": "$(id) `id` \"x\" 'y'"},
     ["record", "--yes", "--format=json", "--function=apigw-rollback", "--who=ada (o/r/deploy/7)", "--label=v1.4.2",
      "--note=$(id) `id` \"x\" 'y'", "--", "orders/prod"]),
    (RECORD | {"command": "announce", "irreversible": "true", "function": "mine", "region": "eu-west-1"},
     ["announce", "--yes", "--format=json", "--function=mine", "--region=eu-west-1", "--who=ada (o/r/deploy/7)",
      "--irreversible", "--", "orders/prod"]),
    ({"command": "promote", "stage": "my orders/$default"},
     ["promote", "--yes", "--format=json", "--function=apigw-rollback", "--who=ada (o/r/deploy/7)", "--", "my orders/$default"]),
    (RECORD | {"command": "rollout-start", "deployment": "x1", "steps": "5,25", "bake": "10m", "min-requests": "500"},
     ["rollout", "start", "--yes", "--format=json", "--function=apigw-rollback", "--who=ada (o/r/deploy/7)",
      "--deployment=x1", "--steps=5,25", "--bake=10m", "--min-requests=500", "--", "orders/prod"]),
    (RECORD | {"command": "rollout-start", "alias": "orders:live=8,web:live=3"},
     ["rollout", "start", "--yes", "--format=json", "--function=apigw-rollback", "--who=ada (o/r/deploy/7)",
      "--alias=orders:live=8,web:live=3", "--", "orders/prod"]),
    (RECORD | {"command": "rollout-wait", "timeout": "90m"},
     ["rollout", "wait", "--format=json", "--function=apigw-rollback", "--timeout=90m", "--", "orders/prod"]),
    ({"command": "doctor"}, ["doctor", "--format=json", "--function=apigw-rollback"]),
    (RECORD | {"label": "--force"}, ["record", "--yes", "--format=json", "--function=apigw-rollback",
                                    "--who=ada (o/r/deploy/7)", "--label=--force", "--", "orders/prod"]),
]
# The command, the exit code and the answer of the command line, `accept`, and whether the pipeline goes on.
GATES = [
    ("doctor", 0, FINDINGS, "", True), ("doctor", 5, FINDINGS, "", True), ("doctor", 5, FINDINGS, "ok", False),
    ("doctor", 9, FINDINGS, "", False), ("doctor", 9, FINDINGS, "not-checked", True),
    ("doctor", 6, FAULT, "not-checked", False), ("doctor", 7, FAULT, "", False), ("doctor", 0, None, "", False),
    ("record", 0, {"reports": [REPORT]}, "", True), ("record", 3, {"reports": [REPORT]}, "", False),
    ("record", 5, {"reports": [REPORT]}, "", False), ("record", 0, None, "", False),
    ("rollout-start", 0, {"reports": [REPORT, REPORT]}, "", True), ("rollout-wait", 10, REPORT, "", False),
    ("rollout-wait", 11, REPORT, "", False),
    ("promote", 7, {"schema": 1, "error": "no credentials", "exit": 7}, "", False),
]


class Ran:
    def __init__(self, status, said, outputs, summary, calls):
        self.status, self.said, self.outputs, self.summary, self.calls = status, said, outputs, summary, calls


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Action(unittest.TestCase):
    def setUp(self):
        self.work = Path(tempfile.mkdtemp(prefix="apigw-rollback-action-"))
        self.addCleanup(shutil.rmtree, self.work)
        self.release = self.make("release")

    def make(self, name, of=None):
        folder = self.work / name
        folder.mkdir()
        program = STUB.format(python=sys.executable, version=of or version()).encode()
        (folder / PROGRAM).write_bytes(program)
        (folder / "SHA256SUMS").write_text(f"{'0' * 64}  other.zip\n{hashlib.sha256(program).hexdigest()}  {PROGRAM}\n")
        return folder

    def run_action(self, inputs, status=0, answer=None, **more):
        """Runs the action's own step, with its environment as action.yml writes it."""
        [step] = yaml_parse((ACTION / "action.yml").read_text())["runs"]["steps"]
        declared = yaml_parse((ACTION / "action.yml").read_text())["inputs"]
        unknown = set(inputs) - set(declared)
        assert not unknown, unknown
        values = {name: one.get("default", "") for name, one in declared.items()} | {"release": str(self.release)} | inputs
        env = {"PATH": os.environ["PATH"], "GITHUB_ACTION_PATH": str(ACTION), "RUNNER_TEMP": str(self.work / "temp"),
               "GITHUB_OUTPUT": str(self.work / "output"), "GITHUB_STEP_SUMMARY": str(self.work / "summary"),
               "GITHUB_ACTOR": "ada", "GITHUB_REPOSITORY": "o/r", "GITHUB_WORKFLOW": "deploy", "GITHUB_RUN_ID": "7",
               "CALLS": str(self.work / "calls"), "STATUS": str(status), "PYTHONDONTWRITEBYTECODE": "1",
               "ANSWER": json.dumps(answer) if answer is not None else "", **more}
        for variable, expression in step["env"].items():
            (name,) = re.findall(r"\$\{\{ inputs\.([a-z0-9-]+) \}\}", expression) or [None]
            env[variable] = values[name] if name else "o/action"
        for name in ("output", "summary", "calls"):
            (self.work / name).write_text("")
        ran = subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], env=env,
                             capture_output=True, text=True, check=False)
        read = lambda name: (self.work / name).read_text()  # noqa: E731
        outputs = dict(line.split("=", 1) for line in read("output").splitlines())
        return Ran(ran.returncode, ran.stdout + ran.stderr, outputs, read("summary"),
                   [json.loads(line) for line in read("calls").splitlines()])

    def test_an_input_that_the_command_would_refuse_or_ignore_stops_the_step_first(self):
        for inputs, sentence in REFUSED:
            with self.subTest(inputs=inputs):
                ran = self.run_action({"release": "/nowhere", **inputs})
                self.assertEqual((ran.status, ran.calls, ran.outputs["outcome"]), (2, [], "refused"))
                self.assertIn("::error title=apigw-rollback::", ran.said)
                self.assertIn(sentence, ran.said)

    def test_each_input_reaches_the_command_line_as_one_argument(self):
        for inputs, wanted in CALLS:
            with self.subTest(inputs=inputs):
                ran = self.run_action(inputs, answer={"reports": [REPORT]})
                self.assertEqual((ran.status, ran.calls), (0, [wanted]), ran.said)

    def test_the_exit_code_decides_whether_the_pipeline_goes_on(self):
        for command, status, answer, accept, goes_on in GATES:
            with self.subTest(command=command, status=status, accept=accept):
                inputs = {"command": command, "stage": "orders/prod"} | ({"accept": accept} if accept else {})
                ran = self.run_action(inputs, status, answer)
                self.assertEqual(ran.status == 0, goes_on, ran.said)
                self.assertEqual(ran.outputs["exit-code"], str(status))

    def test_findings_become_annotations_a_summary_and_outputs(self):
        ran = self.run_action({"command": "doctor"}, 5, FINDINGS)
        self.assertIn("::warning title=apigw-rollback hold::held%0Auntil | noon Release it.", ran.said)
        self.assertNotIn("::warning title=apigw-rollback mode", ran.said)
        self.assertIn("**warning**", ran.summary)
        self.assertEqual(json.loads(ran.outputs["report"]), FINDINGS)
        self.assertEqual(ran.outputs["outcome"], "warning")
        ran = self.run_action({"command": "doctor"}, 6, FAULT)
        self.assertIn("::error title=apigw-rollback topic::no subscription Deploy the stack again.", ran.said)

    def test_a_report_becomes_a_line_a_summary_and_outputs(self):
        ran = self.run_action(RECORD, 0, {"reports": [REPORT]})
        self.assertIn("recorded: Recorded d2 as version 2", ran.said)
        self.assertIn("::warning title=apigw-rollback::the pin is late", ran.said)
        self.assertIn("`record` of orders/prod: **recorded**", ran.summary)
        self.assertEqual(json.loads(ran.outputs["report"]), REPORT)
        ran = self.run_action(RECORD, 1, None)
        self.assertIn("::error title=apigw-rollback::error: from the command line", ran.said)

    def test_a_release_that_is_not_the_wanted_one_is_never_run(self):
        damaged = self.make("damaged")
        (damaged / PROGRAM).write_text("other")
        unlisted = self.make("unlisted")
        (unlisted / "SHA256SUMS").write_text("")
        for inputs, sentence in [
            ({"release": str(self.work / "none")}, f"There is no {PROGRAM} of release {version()} in"),
            ({"release": "s3://bucket/folder"}, "Unpack the release there, or give an https address."),
            ({"release": str(damaged)}, "does not have the checksum"),
            ({"release": str(unlisted)}, f"does not list {PROGRAM}"),
            ({"sha256": "0" * 64}, "does not have the checksum 0000"),
            ({"release": str(self.make("older", of="0.0.9"))}, f"is of release 0.0.9, not {version()}."),
        ]:
            with self.subTest(sentence):
                ran = self.run_action(RECORD | inputs)
                self.assertEqual((ran.status, ran.calls), (2, []), ran.said)
                self.assertIn(sentence, ran.said)

    def test_a_release_is_fetched_from_an_address(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Quiet(*a, directory=str(self.work)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        base = f"http://127.0.0.1:{server.server_port}"
        ran = self.run_action(RECORD | {"release": f"{base}/release/"}, answer={"reports": [REPORT]}, no_proxy="127.0.0.1")
        self.assertEqual((ran.status, len(ran.calls)), (0, 1), ran.said)
        ran = self.run_action(RECORD | {"release": f"{base}/never"}, no_proxy="127.0.0.1")
        self.assertEqual((ran.status, ran.calls), (2, []))
        self.assertIn(f"Release {version()} was never published there", ran.said)

    def test_an_empty_release_means_the_actions_own_repository(self):
        ran = self.run_action(RECORD | {"release": ""}, GITHUB_SERVER_URL="http://127.0.0.1:1", no_proxy="127.0.0.1")
        self.assertEqual((ran.status, ran.calls), (2, []))
        self.assertIn(f"http://127.0.0.1:1/o/action/releases/download/v{version()}/{PROGRAM} cannot be read", ran.said)

    def test_the_steps_name_only_inputs_that_exist(self):
        action = yaml_parse((ACTION / "action.yml").read_text())
        [step] = action["runs"]["steps"]
        used = set(re.findall(r"inputs\.([a-z0-9-]+)", json.dumps(step["env"])))
        self.assertEqual(used, set(action["inputs"]))
        self.assertNotIn("${{", step["run"])

    def test_the_example_gives_the_action_only_inputs_that_it_has(self):
        declared = yaml_parse((ACTION / "action.yml").read_text())["inputs"]
        needed = {name for name, one in declared.items() if one.get("required")}
        workflow = yaml_parse((ACTION / "examples" / "deploy.yml").read_text())
        for name, job in workflow["jobs"].items():
            steps = [step for step in job["steps"] if "/deploy/action@" in step.get("uses", "")]
            for step in steps:
                self.assertLessEqual(needed, set(step["with"]), name)
                self.assertLessEqual(set(step["with"]), set(declared), name)
            commands = [step["with"]["command"] for step in steps]
            self.assertIn(commands[:2], (["doctor", "announce"], ["doctor", "rollout-start"]), name)
            self.assertEqual(commands[-1] == "rollout-wait", commands[1] == "rollout-start", name)
            self.assertEqual(job["permissions"], {"contents": "read", "id-token": "write"}, name)

    def test_actionlint_and_zizmor_find_nothing(self):
        folder = self.work / ".github" / "workflows"
        folder.mkdir(parents=True)
        text = (ACTION / "examples" / "deploy.yml").read_text()
        example = folder / "deploy.yml"
        example.write_text(text.replace("@COMMIT", f"@{'1' * 40}"))
        lint = [release.ROOT / ".tools" / "actionlint" / "bin" / "actionlint", "-no-color"]
        audit = [release.ROOT / ".tools" / "actions" / "bin" / "zizmor", "--offline", "--no-progress", "--persona=pedantic"]
        ran = subprocess.run([*lint, example], capture_output=True, text=True, check=False)
        self.assertEqual((ran.returncode, ran.stdout.strip()), (0, ""))
        ran = subprocess.run([*audit, example, ACTION / "action.yml"], capture_output=True, text=True, check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        # Both look: a workflow with a known flaw has a finding.
        example.write_text(text.replace("env.STAGE", "github.nope", 1))
        self.assertEqual(subprocess.run([*lint, example], capture_output=True, check=False).returncode, 1)
        self.assertNotEqual(subprocess.run([*audit, example], capture_output=True, check=False).returncode, 0)


if __name__ == "__main__":
    unittest.main()
