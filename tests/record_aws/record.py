"""`make record-aws`: answers the open questions of docs/limits.md in a sandbox account of yours, and writes the answers of
AWS as transcripts.

It takes at most 20 minutes and costs some cents: a cache of 0.5 GB for ten minutes, a few alarms and metrics, some hundred
requests. It creates its own APIs, alarms, queues, roles and log groups, all named `apigw-rollback-record-...`, and removes
them, also after an interruption. `CLEAN=1` removes what a killed run left behind.
"""

import concurrent.futures
import json
import os
import pathlib
import secrets
import signal
import sys
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import alarms  # noqa: E402
import delivery  # noqa: E402
import gateway  # noqa: E402
from botocore.exceptions import BotoCoreError, ClientError  # noqa: E402
from sandbox import PREFIX, Sandbox, clean_up  # noqa: E402
from transcript import Recorder, Refused  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMITS = ROOT / "docs" / "limits.md"
# The questions end early enough for the removal: one API can be deleted in 30 s.
QUESTIONS_SECONDS, USUAL = 15 * 60, "https://{api}.execute-api.{region}.amazonaws.com/{stage}/"
USAGE = """\
usage: make record-aws [YES=1] [OUT=folder] [CACHE=off] [CLEAN=1]
Uses the credentials and the Region of your environment. They must belong to a sandbox account: for some minutes the account
has APIs that anybody may call, and, if API Gateway has no role for logs there, the role of this script."""


def log_format():
    """Returns the access-log format of a REST API, as docs/access-log.md prints it."""
    page = (ROOT / "docs" / "access-log.md").read_text()
    return next(line.split("Format: '", 1)[1].rstrip("'") for line in page.splitlines()
                if "Format: '" in line and "$context.deploymentId" in line)


def jobs(box, address, with_cache):
    """Returns the groups of questions. Each runs by itself, beside the others."""
    groups = {
        "rest": lambda: gateway.rest_questions(box, address),
        "http": lambda: gateway.http_questions(box),
        "canary metrics": lambda: delivery.canary_metrics(box, address),
        "counting": lambda: delivery.counted_late(box, address),
        "access log": lambda: delivery.access_log(box, address, log_format()),
        "mute rules": lambda: alarms.mute_rules(box),
        "log alarm": lambda: alarms.log_alarm(box),
        "datapoints": lambda: alarms.renewed(box),
        "parameters": lambda: alarms.parameters(box),
    }
    if with_cache:
        groups["cache"] = lambda: delivery.cached(box, address)
    return groups


def asked(box, groups, say):
    """Asks all questions. Returns the answers, and why a group has none."""
    answers, failed = {}, {}

    def one(name, group):
        try:
            return name, group(), None
        except (Refused, ClientError, BotoCoreError) as error:
            return name, {}, str(error)
        except Exception:
            return name, {}, traceback.format_exc(limit=3)

    pool = concurrent.futures.ThreadPoolExecutor(len(groups))
    try:
        for done in concurrent.futures.as_completed([pool.submit(one, *group) for group in groups.items()]):
            name, found, why = done.result()
            answers.update(found)
            if why is not None:
                failed[name] = why
                say(f"{name}: {why}")
            for question, answer in found.items():
                say(f"{question} {answer}")
    finally:
        # After an interruption, every wait ends at once, and nothing new is created after the removal.
        box.stopping.set()
        pool.shutdown(wait=True, cancel_futures=True)
    return answers, failed


def summary(recorder, answers, failed):
    """Writes the answers by their questions, with those of the page that nobody can ask in a script."""
    page = [row.split("|")[1].strip() for row in LIMITS.read_text().split("## By design")[0].splitlines()
            if row.startswith("|") and row.count("|") == 3 and "---" not in row]
    named = {plain(question): answer for question, answer in answers.items()}
    missing = [question for question in page[1:] if plain(question) not in named]
    text = {"answers": recorder.plain(answers), "failed": recorder.plain(failed), "not asked": missing,
            "transcripts": sorted(recorder.written)}
    (recorder.folder / "answers.json").write_text(json.dumps(text, indent=1) + "\n")
    return missing


def plain(question):
    """Returns a question without the links of the page."""
    before, found, after = question.partition("](")
    return (before + after.partition(")")[2]).replace("[", "") if found else question


def stop_on_signals(box):
    def interrupted(signum, _frame):
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        print("interrupted: removing what was created", flush=True)
        box.stopping.set()

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupted)


def confirmed(recorder):
    account = recorder.do("sts", "GetCallerIdentity")["Account"]
    recorder.hide(account, "111111111111")
    print(f"account {account}, Region {recorder.region}", flush=True)
    if os.environ.get("YES", "") not in ("", "0"):
        return True
    question = "create and remove test resources in this sandbox account? [y/N] "
    if sys.stdin.isatty() and input(question).strip().lower() == "y":
        return True
    print(f"nothing was created; YES=1 skips the confirmation\n{USAGE}", file=sys.stderr)
    return False


def main():
    began = time.monotonic()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        print(f"error: set AWS_REGION\n{USAGE}", file=sys.stderr)
        return 2
    folder = pathlib.Path(os.environ.get("OUT") or ROOT / "target" / "recorded").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    undo_file, lock = folder / "undo.jsonl", threading.Lock()
    recorder = Recorder(folder, region)

    def say(text):
        with lock:
            print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True)

    try:
        if not confirmed(recorder):
            return 2
        left = clean_up(recorder, undo_file, say) if os.environ.get("CLEAN") or undo_file.exists() else []
        if os.environ.get("CLEAN"):
            print("\n".join(left), file=sys.stderr)
            return 1 if left else 0
        seconds = float(os.environ.get("SECONDS_FOR_QUESTIONS") or QUESTIONS_SECONDS)
        box = Sandbox(recorder, f"{PREFIX}{secrets.token_hex(3)}", undo_file, began + seconds)
        stop_on_signals(box)
        answers, failed = {}, {}
        try:
            groups = jobs(box, os.environ.get("ADDRESS") or USUAL, os.environ.get("CACHE") != "off")
            answers, failed = asked(box, groups, say)
        finally:
            left = box.clean_up(say)
            missing = summary(recorder, answers, failed)
    except (Refused, ClientError, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for question in missing:
        say(f"NOT ASKED: {question}")
    for one in left:
        print(f"error: not removed: {one}; try again with CLEAN=1", file=sys.stderr)
    say(f"{len(answers)} answers and {len(recorder.written)} transcripts in {folder}")
    return 1 if left or failed else 0


if __name__ == "__main__":
    sys.exit(main())
