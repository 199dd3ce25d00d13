"""`make record-play`: plays `make record-aws` against MiniStack, as far as it goes.

It shows that the questions are asked, that the transcripts have their form, and that nothing is left behind: after a whole
run, after an interruption and after a kill. OUT=folder keeps the transcripts. The emulator's answers are those of the emulator: they answer no question about AWS.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from checks import Checks  # noqa: E402
from stack import Stack, StepFailed, Timeline, stop_on_signals  # noqa: E402

PREFIX = "apigw-rollback-record-"
# The emulator answers at once what it answers at all; the rest waits until the time is over.
SECONDS = 40
# What MiniStack has no answer to: it counts no requests of its gateway, writes no access log, extracts no metrics, keeps no
# cache, serves the API's present resources instead of frozen deployments, sends no events of alarms, and has no log alarms.
# An alarm takes longer than this run has.
NOT_PLAYED = {
    "How does API Gateway name the metrics of a canary?": "not seen",
    "Does CloudWatch extract the metrics of the access-log format, and how late?": "not seen",
    "Are the datapoints that CloudWatch keeps with an alarm renewed while it stays in ALARM?": "not seen",
    "Does the cache serve old answers after the change?": "not asked",
    "Does EventBridge report a muted alarm?": "not asked",
    "How soon does the change reach all servers?": "not seen",
    "How late does API Gateway count a request?": "not seen",
    "How far back does a log alarm look?": "not asked",
}
LISTS = [
    ("apigateway", "get_rest_apis", {}, "items", "name"),
    ("apigatewayv2", "get_apis", {}, "Items", "Name"),
    ("cloudwatch", "describe_alarms", {}, "MetricAlarms", "AlarmName"),
    ("events", "list_rules", {}, "Rules", "Name"),
    ("iam", "list_roles", {}, "Roles", "RoleName"),
    ("logs", "describe_log_groups", {}, "logGroups", "logGroupName"),
    ("sns", "list_topics", {}, "Topics", "TopicArn"),
    ("ssm", "describe_parameters", {}, "Parameters", "Name"),
]


def left(stack):
    """Returns what runs of the recording left in the emulated account."""
    found = []
    for service, operation, params, key, name in LISTS:
        listed = getattr(stack.client(service), operation)(**params).get(key, [])
        found += [one[name] for one in listed if PREFIX in one[name]]
    return found + [url for url in stack.client("sqs").list_queues().get("QueueUrls", []) if PREFIX in url]


def start(stack, folder, **more):
    env = dict(stack.env, YES="1", OUT=str(folder), PYTHONDONTWRITEBYTECODE="1",
               SECONDS_FOR_QUESTIONS=str(SECONDS),
               ADDRESS=stack.endpoint + "/restapis/{api}/{stage}/_user_request_/", **more)
    return subprocess.Popen([sys.executable, HERE / "record.py"], env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True)


def wait_for_resources(stack, process):
    """Waits until a run has created something."""
    until = time.monotonic() + 30
    while len(left(stack)) < 4 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.3)
    return left(stack)


def transcripts(folder):
    return {str(path.relative_to(folder)): json.loads(path.read_text()) for path in sorted(folder.glob("*/*.json"))}


def a_whole_run(stack, checks, folder):
    process = start(stack, folder)
    output, _ = process.communicate(timeout=300)
    print(output)
    summary = json.loads((folder / "answers.json").read_text())
    answers = summary["answers"]
    checks.equal("nothing is left behind", left(stack), [])
    checks.equal("  and no removal is open", (folder / "undo.jsonl").read_text(), "")
    checks.that("the questions about one call, refusals, variables and protection are answered", len(answers) >= 12, answers)
    for question, how in NOT_PLAYED.items():
        checks.that(f"no answer of the emulator: {question}", answers.get(question, how).startswith(how), answers.get(question))
    found = transcripts(folder)
    checks.that("  with transcripts", len(found) >= 15, list(found))
    for name, one in found.items():
        good = {"source", "recorded", "kind", "request"} <= set(one) and ("response" in one) != ("error" in one)
        checks.that(f"  {name} has the form of a recording", good and one["kind"] in ("recorded", "measured"), one)
    text = json.dumps(found)
    checks.that("  without the account's id", "000000000000" not in text)
    checks.equal("no group of questions fails", (process.returncode, summary["failed"]), (0, {}))


def an_interruption(stack, checks, folder):
    process = start(stack, folder)
    checks.that("a run creates resources", wait_for_resources(stack, process))
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    checks.equal("after an interruption nothing is left", left(stack), [])
    checks.that("  and the run says so", "interrupted: removing" in output, output[-2000:])


def a_kill(stack, checks, folder):
    process = start(stack, folder)
    wait_for_resources(stack, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    checks.that("a killed run leaves resources", left(stack))
    output, _ = (cleaning := start(stack, folder, CLEAN="1")).communicate(timeout=120)
    checks.equal("CLEAN=1 removes them", (left(stack), cleaning.returncode), ([], 0))
    checks.that("  and says how many", "removals carried out, 0 failed" in output, output)


def main():
    stop_on_signals()
    timeline = Timeline()
    checks = Checks(timeline.say)
    try:
        with Stack(timeline) as stack, tempfile.TemporaryDirectory() as folder:
            folder = os.environ.get("OUT") or folder
            for nth, play in enumerate((a_whole_run, an_interruption, a_kill)):
                part = pathlib.Path(folder) / str(nth)
                part.mkdir(parents=True, exist_ok=True)
                play(stack, checks, part)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
