"""The commands that the documents tell people to type, as they stand there and in their order."""

import re
import textwrap
from typing import NamedTuple

from stack import ROOT

# What a span of code begins with where it is a command of its own.
TOOLS = ("aws ", "sam ", "cargo ", "apigw-rollback ", "make ", "KEEP=1 make ")
# A block of code with the word behind its fence, or code within a sentence, which may go over the end of a line.
CODE = re.compile(r"^ *```(\w*)\n(.*?)^ *```|`([^`]+)`", re.DOTALL | re.MULTILINE)
DEFINITION = re.compile(r"\w+\(\) *\{.*\}$")


class Command(NamedTuple):
    """One command of a page. `before` is what the page has defined for it, as in a shell that stays open."""

    page: str
    text: str
    before: str

    @property
    def line(self):
        """The command on one line."""
        return " ".join(self.text.replace("\\\n", " ").split())

    def __str__(self):
        return f"{self.page}: {self.line}"


def commands():
    """All commands of all pages, each once: the README's first, as a reader comes by them."""
    found = {}
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CHANGELOG.md"]:
        for command in of_page(path.name, path.read_text()):
            found.setdefault(command.text, command)
    return list(found.values())


def of_page(name, text):
    before = ""
    for word, block, span in CODE.findall(text):
        if word in ("sh", "console"):
            for line in lines(textwrap.dedent(block)):
                if DEFINITION.match(line):
                    before += line + "\n"
                else:
                    yield Command(name, line, before)
        elif span.startswith(TOOLS):
            yield Command(name, " ".join(span.split()), before)


def lines(block):
    """The commands of a block: a line each, or several where one goes on."""
    whole = ""
    for line in block.splitlines():
        whole += line.strip() if not whole else "\n" + line.strip()
        if whole.endswith(("\\", "|")):
            continue
        command = re.sub(r"\s+# .*$", "", whole)
        if command and not command.startswith("#"):
            yield command
        whole = ""
