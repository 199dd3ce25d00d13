"""A reader of the documents: runs their commands in its own folder and home, and checks the results."""

import os
import pathlib
import shutil
import subprocess

import documented
import pages
import terminal
from orders import Orders
from stack import ROOT, TOOLS, StepFailed, clean_environment

# The same place each time, so that cargo can reuse what it compiled there. It is not below `target`, which the copy
# shares: cargo would mistake the copy's sources there for the user's own, and miss their changes.
PLACE = ROOT / ".documents"
CLONE = PLACE / "orders" / "apigw-rollback"
# Sample values in the documents, and how each world replaces them.
SAMPLES = {
    "abc123": lambda orders: orders.good,
    "ffd97f169067": Orders.incident,
    "$ALARM_TOPIC_ARN": lambda orders: orders.stack.outputs["AlarmTopicArn"],
    "2026-11-20T18:00:00Z": lambda orders: orders.later(),
    # The documents' stack `orders` is the stack of the function here.
    "--stack-name orders": lambda _orders: "--stack-name apigw-rollback",
    # The emulator does not support the alarm on the error rate.
    "CodeBucket=orders-rollback-code": lambda _orders: "CodeBucket=orders-rollback-code MinimumRequests=0 SweepMinutes=60",
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
            clean_environment(endpoint), HOME=str(PLACE / "home"), USER="me", PAGER="cat",
            CARGO_HOME=os.environ.get("CARGO_HOME", str(home / ".cargo")),
            RUSTUP_HOME=os.environ.get("RUSTUP_HOME", str(home / ".rustup")),
            # The build keeps the linker there; if its path changes, cargo compiles everything again.
            XDG_CACHE_HOME=os.environ.get("XDG_CACHE_HOME", str(home / ".cache")),
            CARGO_INSTALL_ROOT=str(PLACE),
            PATH=os.pathsep.join([str(PLACE / "bin"), str(TOOLS / "cargo-lambda/bin"), os.environ["PATH"]]), **env)

    def run(self, row, command, world):
        """Prepares and runs one command, and checks its exit status and its effect."""
        try:
            if row.given:
                row.given(world)
            text = row.before + self.in_this_world(command.before + command.text, world)
            folder = ROOT if row.at_root else CLONE
            ran = terminal.run(text, folder, self.env, row.answers, row.patience, self.checks.say)
            wrong = None if ran.status in row.status else f"status {ran.status}"
            wrong = wrong or (row.then and row.then(world, ran))
        except Exception as failure:  # The other commands must still run.
            wrong, ran = f"{type(failure).__name__}: {failure}", terminal.Ran(None, "")
        self.checks.that(str(command), not wrong, f"{wrong}\n{ran.end(1500)}")
        return not wrong

    def in_this_world(self, text, world):
        world.samples = {sample: value(world) for sample, value in SAMPLES.items() if sample in text}
        for sample, value in world.samples.items():
            text = text.replace(sample, value)
        return text


def clone():
    """Copies the repository as it is now, so that builds do not touch the user's own files."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        raise StepFailed(f"git cannot list the files to copy; run this in a git checkout: {listed.stderr.decode()}")
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (CLONE / name).parent.mkdir(parents=True, exist_ok=True)
            # With its times, from which cargo knows what changed.
            shutil.copy2(ROOT / name, CLONE / name)
    for shared in ("target", ".tools"):
        (CLONE / shared).symlink_to(ROOT / shared)


def known(checks):
    """Returns the commands with their rows. Checks that each command has a row, and each row a command."""
    found = [(documented.row_of(command), command) for command in pages.commands()]
    for row, command in found:
        if row is None:
            checks.that(f"`{command}` has a row", False, "add a row for it to documented.py")
        elif row.where == documented.NOWHERE and command.line in documented.by_ci():
            checks.that(f"the row of `{command}` is needed", False, "remove it, because .ci/run runs the command")
    used = {id(row) for row, _ in found}
    for row in documented.ROWS:
        if id(row) not in used:
            checks.that(f"the row `{row.pattern}` is needed", False, "no command of the documents matches it")
    text = "\n".join(command.before + command.text for _, command in found)
    for sample in SAMPLES:
        if sample not in text:
            checks.that(f"the sample {sample} is needed", False, "no command contains it")
    return [(row, command) for row, command in found if row]


def play(where, reader, world, checks):
    """Runs the commands for this emulator, in the order of the documents."""
    for row, command in sorted(known(checks), key=lambda one: not one[0].first):
        if row.where == where and reader.run(row, command, world) and row.more:
            for further in row.more(world):
                reader.run(*further, world)
