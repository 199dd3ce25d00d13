"""Releases for the tests of the doors: the template as `make dist` writes it, and variations of it.

The fast tests read only the template, so the code of their releases is a few bytes. Where a function has to run, the
tests take the built release.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent), str(ROOT / "deploy" / "dist")]

import templates  # noqa: E402

ZIP = "apigw-rollback-function-x86_64.zip"


def real():
    """Returns the folder of the built release, or `None`."""
    folder = Path(os.environ.get("DIST") or ROOT / "target" / "dist")
    return folder if (folder / "template.yaml").is_file() else None


def plain():
    """Returns the template of a release with code for x86_64."""
    return templates.plain(["x86_64"])


def write(folder, template, zipped=b"PK stands for a zip", without=()):
    """Writes a release into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"template.yaml": templates.written(template).encode(), ZIP: zipped}
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    for name, data in {**files, "SHA256SUMS": sums.encode()}.items():
        if name not in without:
            (folder / name).write_bytes(data)
    return folder


def older(template):
    """Returns an older release of the template: it lacks a parameter."""
    old = json.loads(json.dumps(template))
    old["Mappings"]["Release"]["This"]["Version"] = "0.0.9"
    del old["Parameters"]["ConvictAlpha"]
    return old


def newer(template):
    """Returns a newer release of the template: it has one more parameter."""
    new = json.loads(json.dumps(template))
    new["Mappings"]["Release"]["This"]["Version"] = "9.0.0"
    new["Parameters"]["FromTheFuture"] = {"Type": "String", "Default": ""}
    return new


def write_all(folder):
    """Writes a good release and all bad ones, for the tests of the CDK construct."""
    template = plain()
    write(folder / "good", template)
    write(folder / "older", older(template))
    write(folder / "newer", newer(template))
    write(folder / "without-code", template, without=(ZIP,))
    (write(folder / "damaged", template) / ZIP).write_bytes(b"other")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
