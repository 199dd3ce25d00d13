"""Runs commands in a terminal of their own, and answers their prompts."""

import contextlib
import os
import pty
import re
import select
import signal
import time
from typing import NamedTuple

CTRL_C = "\x03"
COLOURS = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\].*?\x07)")


class Ran(NamedTuple):
    """The result of a command. A command that did not end in time has no status."""

    status: int | None
    output: str

    def end(self, letters=400):
        return self.output.strip()[-letters:]


def run(command, folder, env, answers=(), patience=120, say=lambda text: None):
    """Runs a command in bash on a terminal. `answers` pairs a pattern of a prompt with the text to type.

    Prints the last line of the output every ten seconds, so that a long command shows its progress.
    """
    child, terminal = pty.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            os.chdir(folder)
            os.execvpe("bash", ["bash", "-c", command], env)
        os._exit(127)
    try:
        return _converse(child, terminal, answers, patience, say)
    finally:
        _stop(child)
        os.close(terminal)


def _converse(child, terminal, answers, patience, say):
    output, asked, began, printed = "", 0, time.monotonic(), time.monotonic()
    while True:
        now = time.monotonic()
        if now - began > patience:
            return Ran(None, output)
        if now - printed > 10:
            printed = now
            say(f"    {last_line(output)}")
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # No process has the terminal open.
                piece = b""
            if not piece:
                ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                return Ran(ended if ended >= 0 else 128 - ended, output)
            output += COLOURS.sub("", piece.decode(errors="replace")).replace("\r\n", "\n")
        for question, answer in answers:
            if re.search(question + r"\s*\Z", output[asked:]):
                asked = len(output)
                os.write(terminal, answer.encode())
                break


def last_line(output):
    said = [line.strip() for line in output[-2000:].splitlines() if any(map(str.isalnum, line))]
    return said[-1][:90] if said else "working"


def _stop(child):
    """Ends the remaining processes of the command, which are all in the child's own group."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signum)
            time.sleep(0.2)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, os.WNOHANG)
