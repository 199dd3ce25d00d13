"""The commands of the documents, exactly as written and in their order."""

import re
import textwrap
from typing import NamedTuple

from stack import ROOT

# A span of code with one of these beginnings is a command.
TOOLS = ("aws ", "sam ", "cargo ", "apigw-rollback ", "make ", "KEEP=1 make ")
# A block of code with the word after its fence, or code within a sentence, which may wrap to the next line.
CODE = re.compile(r"^ *```(\w*)\n(.*?)^ *```|`([^`]+)`", re.DOTALL | re.MULTILINE)
DEFINITION = re.compile(r"\w+\(\) *\{.*\}$")


class Command(NamedTuple):
    """One command of a page. `before` has the shell functions that the page defined earlier."""

    page: str
    text: str
    before: str

    @property
    def line(self):
        """Joins the command into one line."""
        return " ".join(self.text.replace("\\\n", " ").split())

    def __str__(self):
        return f"{self.page}: {self.line}"


def commands():
    """Returns the commands of all pages, each once, in a reader's order: those of the README first."""
    found = {}
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CHANGELOG.md",
                 ROOT / "CONTRIBUTING.md"]:
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
    """Yields the commands of a block. A command may continue over several lines."""
    whole = ""
    for line in block.splitlines():
        whole += line.strip() if not whole else "\n" + line.strip()
        if whole.endswith(("\\", "|")):
            continue
        command = re.sub(r"\s+# .*$", "", whole)
        if command and not command.startswith("#"):
            yield command
        whole = ""
