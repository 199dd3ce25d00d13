"""`make documents`: runs every command of the README and docs against an emulator, exactly as written."""

import os
import sys

import documented
import nested
import reader
from checks import Checks
from orders import Orders
from stack import Stack, StepFailed, Timeline, stop_on_signals


def main():
    stop_on_signals()
    timeline = Timeline()
    checks = Checks(timeline.say)
    try:
        with Stack(timeline, keep=os.environ.get("KEEP", "") not in ("", "0")) as stack:
            operator = reader.Reader(stack.endpoint, checks)
            reader.clone()
            world = Orders(stack)
            reader.play(documented.HERE, operator, world, checks)
            list_commands_not_run(checks)
            nested.play(stack, operator, checks)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return checks.status()


def list_commands_not_run(checks):
    for row, command in reader.known(Checks(lambda text: None)):
        if row.where not in (documented.HERE, documented.CI):
            checks.say(f"        not run here: {command}: {row.why or f'`make contract` runs it on {row.where}'}")


if __name__ == "__main__":
    sys.exit(main())
