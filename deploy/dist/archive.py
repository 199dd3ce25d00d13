"""A zip that depends only on its content, and what a program says about itself: its processor and the glibc it needs."""

import re
import subprocess
import zipfile

# The earliest time that a zip can store.
NO_TIME = (1980, 1, 1, 0, 0, 0)
EXECUTABLE = 0o100755
UNIX = 3
MACHINES = {"x86_64": "Advanced Micro Devices X86-64", "arm64": "AArch64"}


class BadProgram(Exception):
    """A program is not what the release needs."""


def pack(program, archive):
    """Writes the zip that Lambda runs: one program, named `bootstrap`."""
    entry = zipfile.ZipInfo("bootstrap", NO_TIME)
    entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, EXECUTABLE << 16, UNIX
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(entry, program.read_bytes(), compresslevel=9)


def _readelf(option, program):
    command = ["readelf", "--wide", option, str(program)]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}).stdout
    except FileNotFoundError:
        raise BadProgram("readelf is not installed: install binutils from your system's packages") from None
    except subprocess.CalledProcessError as error:
        raise BadProgram(f"{program} is no program for Linux: {error.stderr.strip()}") from None


def check_machine(program, architecture):
    """Checks that a program is for this architecture, in Lambda's words."""
    header = _readelf("--file-header", program)
    found = re.search(r"^ *Machine: *(.*?) *$", header, re.MULTILINE)
    if not found or found.group(1) != MACHINES[architecture]:
        raise BadProgram(f"{program} is for {found and found.group(1)}, not for {architecture}")


def needed_glibc(program):
    """Returns the newest version of glibc among those of the symbols that a program needs, such as (2, 17)."""
    needed = re.findall(r"Name: GLIBC_(\d+(?:\.\d+)+)\b", _readelf("--version-info", program))
    if not needed:
        raise BadProgram(f"{program} names no version of glibc")
    return max(tuple(map(int, version.split("."))) for version in needed)
