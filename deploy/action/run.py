"""The program of the action: checks the inputs, gets the command line of the release, and runs one command.

It needs only Python's own library, and reads everything from the environment, so it also runs outside GitHub.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

PROGRAM = "apigw-rollback-x86_64-linux"
# The exit codes of `doctor` with which the pipeline goes on, by the input `accept`.
ACCEPTED = {"ok": {0}, "warning": {0, 5}, "not-checked": {0, 5, 9}}
# How GitHub shows a finding of each level.
SHOWN_AS = {"fault": "error", "not-checked": "warning", "warning": "warning"}
LONGEST_TEXT = 500


class Refused(Exception):
    """The step cannot go on. The message says why, and what to do."""


class Command(NamedTuple):
    """A command of the action: its words, the inputs that it takes besides, and how long it may take, in seconds."""

    arguments: tuple
    texts: tuple = ()
    needs_stage: bool = True
    patience: int = 900


COMMANDS = {
    "doctor": Command(("doctor",), needs_stage=False),
    "record": Command(("record", "--yes"), ("label", "note", "irreversible")),
    "promote": Command(("promote", "--yes")),
    "announce": Command(("announce", "--yes"), ("label", "note", "irreversible")),
    "rollout-start": Command(
        ("rollout", "start", "--yes"), ("label", "note", "deployment", "alias", "steps", "bake", "min_requests")),
    # A job of GitHub's own runners ends after six hours.
    "rollout-wait": Command(("rollout", "wait"), ("timeout",), patience=6 * 3600),
}
# The inputs that become an option of the same name.
OPTIONS = ("label", "note", "deployment", "alias", "steps", "bake", "min_requests", "timeout")


def read_inputs(env):
    """Returns the inputs. Refuses every input that the command would refuse or ignore, before anything is fetched."""
    given = {key[6:].lower(): value.strip() for key, value in env.items() if key.startswith("INPUT_")}
    value = lambda name, default="": given.get(name) or default  # noqa: E731
    name = value("command")
    if name not in COMMANDS:
        raise Refused(f"The command {name!r} does not exist. Give one of {', '.join(COMMANDS)}.")
    command = COMMANDS[name]
    stage = value("stage")
    if stage and not re.fullmatch(r"(?!-).+/[A-Za-z0-9_$-]+", stage):
        raise Refused(f"The stage {stage!r} is not API/STAGE. Give the API's id or name, a slash, and the stage's name.")
    if command.needs_stage and not stage:
        raise Refused(f"{name} needs a stage. Give stage: API/STAGE.")
    if value("irreversible", "false") not in ("true", "false"):
        raise Refused(f"irreversible is {value('irreversible')!r}. Give true or false.")
    for text in (*OPTIONS, "irreversible"):
        if value(text) not in ("", "false") and text not in command.texts:
            takers = [other for other, one in COMMANDS.items() if text in one.texts]
            raise Refused(f"{name} takes no {text}. Remove it, or use {' or '.join(takers)}.")
        if len(value(text).encode()) > LONGEST_TEXT:
            raise Refused(f"The {text} is longer than {LONGEST_TEXT} bytes. Shorten it.")
    if name == "announce" and not any(value(text) not in ("", "false") for text in command.texts):
        raise Refused("announce has nothing to announce. Give a label, a note or irreversible.")
    if value("accept", "warning") not in ACCEPTED:
        raise Refused(f"accept is {value('accept')!r}. Give one of {', '.join(ACCEPTED)}.")
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", value("version")):
        raise Refused(f"The version {value('version')!r} is none. Give a release such as 1.2.3, without a v.")
    if value("sha256") and not re.fullmatch(r"[0-9a-f]{64}", value("sha256")):
        raise Refused("sha256 is not a SHA-256 checksum. Give 64 lower-case hexadecimal digits.")
    return given


def read_file(release, name, version):
    """Returns a file of the release, which is a folder or an address."""
    if not release.startswith(("https://", "http://127.0.0.1:")):
        file = Path(release) / name
        if "://" in release or not file.is_file():
            raise Refused(f"There is no {name} of release {version} in {release}. Unpack the release there, or give an "
                          "https address.")
        return file.read_bytes()
    address = f"{release.rstrip('/')}/{name}"
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return answer.read()
    except urllib.error.HTTPError as refusal:
        if refusal.code == 404:
            raise Refused(f"There is no {name} at {address}. Release {version} was never published there, or the "
                          "repository is private: then download it in a step before, and give its folder.") from refusal
        raise Refused(f"{address} answers with status {refusal.code}. Run the job again later.") from refusal
    except (urllib.error.URLError, OSError) as failure:
        raise Refused(f"{address} cannot be read: {failure}. Run the job again later.") from failure


def fetch(given, env):
    """Returns the path of the command line, which has the right checksum and the right version."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Refused(f"The release has a command line for Linux on x86_64, and this runner is {platform.system()} on "
                      f"{platform.machine()}. Use runs-on: ubuntu-latest.")
    version = given["version"]
    server = env.get("GITHUB_SERVER_URL", "https://github.com")
    repository = env.get("ACTION_REPOSITORY", "")
    release = given.get("release") or f"{server}/{repository}/releases/download/v{version}"
    program = read_file(release, PROGRAM, version)
    wanted = given.get("sha256") or listed_sum(read_file(release, "SHA256SUMS", version).decode("utf-8", "replace"), release)
    if hashlib.sha256(program).hexdigest() != wanted:
        raise Refused(f"{PROGRAM} of {release} does not have the checksum {wanted}. Do not use it; get the release again.")
    folder = Path(env.get("RUNNER_TEMP") or "/tmp") / "apigw-rollback" / wanted
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "apigw-rollback"
    path.write_bytes(program)
    path.chmod(0o755)
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout.split()
    if said[-1:] != [version]:
        raise Refused(f"The command line in {release} is of release {' '.join(said[-1:]) or 'unknown'}, not {version}. Give "
                      "both of the same release.")
    return path


def listed_sum(sums, release):
    for line in sums.splitlines():
        found = re.fullmatch(r"([0-9a-f]{64}) [ *](?:\./)?(.+)", line)
        if found and found[2] == PROGRAM:
            return found[1]
    raise Refused(f"SHA256SUMS in {release} does not list {PROGRAM}. Get the release again.")


def command_line(path, given, env):
    """Returns the arguments. Each input is part of one argument, and the stage comes last, so none becomes an option."""
    command = COMMANDS[given["command"]]
    arguments = [str(path), *command.arguments, "--format=json", f"--function={given.get('function') or 'apigw-rollback'}"]
    if given.get("region"):
        arguments.append(f"--region={given['region']}")
    if "--yes" in command.arguments:
        run = "/".join(env.get(name, "") for name in ("GITHUB_REPOSITORY", "GITHUB_WORKFLOW", "GITHUB_RUN_ID"))
        arguments.append(f"--who={env.get('GITHUB_ACTOR', 'pipeline')} ({run})")
    for text in OPTIONS:
        if given.get(text) and text in command.texts:
            arguments.append(f"--{text.replace('_', '-')}={given[text]}")
    if given.get("irreversible") == "true":
        arguments.append("--irreversible")
    return [*arguments, *(["--", given["stage"]] if given.get("stage") else [])]


def escaped(text):
    """Returns text that ends no line of GitHub's commands."""
    return str(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def show(given, report, said):
    """Prints the news as GitHub shows them, and returns the lines of the summary."""
    if not isinstance(report, dict):
        print(f"::error title=apigw-rollback::{escaped(said.strip() or 'The command said nothing.')}")
        return [f"`{given['command']}` said: {said.strip()}"]
    if "findings" in report:
        lines = [f"`doctor`: **{report.get('worst')}**", "", "| level | check | finding | next step |", "|---|---|---|---|"]
        for one in report["findings"]:
            cells = [str(one.get(key, "")).replace("|", "\\|") for key in ("level", "check", "message", "next")]
            print(f"{cells[0]:<12} {cells[1]}: {cells[2]}")
            if one.get("level") in SHOWN_AS:
                text = escaped(" ".join(str(one.get(key, "")) for key in ("message", "next")).strip())
                print(f"::{SHOWN_AS[one['level']]} title=apigw-rollback {escaped(one.get('check'))}::{text}")
                lines.append(f"| {' | '.join(cells)} |")
        return lines
    if "error" in report:
        print(f"::error title=apigw-rollback::{escaped(report['error'])}")
        return [f"`{given['command']}` failed: {report['error']}"]
    print(f"{report.get('outcome')}: {report.get('message')}")
    for warning in report.get("warnings") or []:
        print(f"::warning title=apigw-rollback::{escaped(warning)}")
    return [f"`{given['command']}` of {given['stage']}: **{report.get('outcome')}**", "", str(report.get("message") or "")]


def write(env, variable, text):
    if env.get(variable):
        with open(env[variable], "a", encoding="utf-8") as file:
            file.write(text)


def read_report(text):
    """Returns the JSON that the command printed, or `None`."""
    try:
        report = json.loads(text)
    except ValueError:
        return None
    # A command prints its reports in a list. The first one is about the command itself.
    reports = report.get("reports") if isinstance(report, dict) else None
    return reports[0] if isinstance(reports, list) and reports else report


def run(env):
    given = read_inputs(env)
    path = fetch(given, env)
    ran = subprocess.run(command_line(path, given, env), capture_output=True, text=True,
                         timeout=COMMANDS[given["command"]].patience, check=False,
                         stdin=subprocess.DEVNULL)
    report = read_report(ran.stdout)
    lines = show(given, report, ran.stderr or ran.stdout)
    write(env, "GITHUB_STEP_SUMMARY", "\n".join(lines) + "\n")
    outcome = (report.get("worst") or report.get("outcome") or "failed") if isinstance(report, dict) else "failed"
    # JSON on one line cannot end the value early.
    write(env, "GITHUB_OUTPUT", f"exit-code={ran.returncode}\noutcome={outcome}\nreport={json.dumps(report)}\n")
    accepted = ACCEPTED[given.get("accept") or "warning"] if given["command"] == "doctor" else {0}
    if ran.returncode in accepted and report is not None:
        return 0
    print(f"::error title=apigw-rollback::{given['command']} ended with exit code {ran.returncode} ({outcome}). "
          "The meaning of the code is in docs/command-line.md.")
    return ran.returncode or 1


def main():
    try:
        return run(os.environ)
    except Refused as refusal:
        print(f"::error title=apigw-rollback::{escaped(refusal)}")
        write(os.environ, "GITHUB_OUTPUT", "exit-code=2\noutcome=refused\nreport=null\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
