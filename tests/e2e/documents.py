"""`make documents`: every command of README and docs, as it is written, against the emulators."""

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
            person = reader.Reader(stack.endpoint, checks)
            reader.clone()
            world = Orders(stack)
            reader.play(documented.HERE, person, world, checks)
            tell_what_is_not_run(checks)
            nested.play(stack, person, checks)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return checks.status()


def tell_what_is_not_run(checks):
    for row, command in reader.known(Checks(lambda text: None)):
        if row.where not in (documented.HERE, documented.CI):
            checks.say(f"        not here: {command}: {row.why or f'{row.where} by make contract'}")


if __name__ == "__main__":
    sys.exit(main())
