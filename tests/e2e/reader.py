"""Somebody who types the documents' commands, in a folder and a home of their own, and looks at what comes of them."""

import os
import pathlib
import shutil
import subprocess

import documented
import pages
import terminal
from orders import Orders
from stack import ROOT, TOOLS, StepFailed, clean_environment

# At the same place each time, so that cargo finds again what it compiled there. Not below `target`, which the copy
# shares: of what lies there cargo would take the copy's sources for the user's own, and not see when those change.
PLACE = ROOT / ".documents"
CLONE = PLACE / "orders" / "apigw-rollback"
# The samples in the documents for which every world has its own.
SAMPLES = {
    "abc123": lambda orders: orders.good,
    "ffd97f169067": Orders.incident,
    "$ALARM_TOPIC_ARN": lambda orders: orders.stack.outputs["AlarmTopicArn"],
    "2026-11-20T18:00:00Z": lambda orders: orders.later(),
    # The stack that has the stage.
    "--stack-name orders": lambda _orders: "--stack-name apigw-rollback",
    # The emulator cannot take the alarm on the rate.
    "apigw-rollback-stage-error-rate": lambda _orders: "apigw-rollback-stage-errors",
}


class Reader:
    """Runs commands against an emulator."""

    def __init__(self, endpoint, checks, **env):
        self.checks = checks
        shutil.rmtree(PLACE, ignore_errors=True)
        (PLACE / "bin").mkdir(parents=True)
        (PLACE / "home").mkdir()
        for name, program in [("aws", ROOT / "tests/e2e/aws"), ("sam", TOOLS / "sam/bin/sam")]:
            (PLACE / "bin" / name).symlink_to(program)
        home = pathlib.Path.home()
        self.env = dict(
            clean_environment(endpoint), HOME=str(PLACE / "home"), USER="me",
            CARGO_HOME=os.environ.get("CARGO_HOME", str(home / ".cargo")),
            RUSTUP_HOME=os.environ.get("RUSTUP_HOME", str(home / ".rustup")),
            # Where the build keeps the linker, by whose place cargo tells whether all is to be compiled anew.
            XDG_CACHE_HOME=os.environ.get("XDG_CACHE_HOME", str(home / ".cache")),
            CARGO_INSTALL_ROOT=str(PLACE),
            PATH=os.pathsep.join([str(PLACE / "bin"), str(TOOLS / "cargo-lambda/bin"), os.environ["PATH"]]), **env)

    def run(self, row, command, world):
        """Runs one command after what it needs, and looks at how it ended and what it did."""
        try:
            if row.given:
                row.given(world)
            text = row.before + self.in_this_world(command.before + command.text, world)
            folder = ROOT if row.at_root else CLONE
            ran = terminal.run(text, folder, self.env, row.answers, row.patience, self.checks.say)
            wrong = None if ran.status in row.status else f"status {ran.status}"
            wrong = wrong or (row.then and row.then(world, ran))
        except Exception as failure:  # The other commands still run.
            wrong, ran = f"{type(failure).__name__}: {failure}", terminal.Ran(None, "")
        self.checks.that(str(command), not wrong, f"{wrong}\n{ran.end(1500)}")
        return not wrong

    def in_this_world(self, text, world):
        world.samples = {sample: value(world) for sample, value in SAMPLES.items() if sample in text}
        for sample, value in world.samples.items():
            text = text.replace(sample, value)
        return text


def clone():
    """A copy of the repository as it is now, beside nothing: what is built there does not touch the user's own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        raise StepFailed(f"the documents' commands run in a copy of the files that git lists: {listed.stderr.decode()}")
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (CLONE / name).parent.mkdir(parents=True, exist_ok=True)
            # With its times, by which cargo tells what has changed.
            shutil.copy2(ROOT / name, CLONE / name)
    for shared in ("target", ".tools"):
        (CLONE / shared).symlink_to(ROOT / shared)


def known(checks):
    """The commands with their rows; each command must have one, and each row a command."""
    found = [(documented.row_of(command), command) for command in pages.commands()]
    for row, command in found:
        if row is None:
            checks.that(f"what comes of `{command}` is known", False, "no row of documented.py")
        elif row.where == documented.NOWHERE and command.line in documented.by_ci():
            checks.that(f"`{command}` is left out", False, "needless: .ci/run runs it")
    used = {id(row) for row, _ in found}
    for row in documented.ROWS:
        if id(row) not in used:
            checks.that(f"the row `{row.pattern}` is of use", False, "no command of the documents matches")
    text = "\n".join(command.before + command.text for _, command in found)
    for sample in SAMPLES:
        if sample not in text:
            checks.that(f"the sample {sample} is of use", False, "no command has it")
    return [(row, command) for row, command in found if row]


def play(where, reader, world, checks):
    """Runs the commands that belong to this emulator, in the order of the documents."""
    for row, command in known(checks):
        if row.where == where and reader.run(row, command, world) and row.more:
            for further in row.more(world):
                reader.run(*further, world)
