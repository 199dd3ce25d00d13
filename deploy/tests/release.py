"""Releases for the tests of the doors: a plain template as `make dist` writes it, and variations of it.

The fast tests read only the template, so the code of their releases is a few bytes. `make doors` takes the real release
where a function has to run.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

import parameters  # noqa: E402

ZIP = "apigw-rollback-function-x86_64.zip"


def real():
    """Returns the folder of the built release, or `None`."""
    folder = Path(os.environ.get("DIST") or ROOT / "target" / "dist")
    return folder if (folder / "template.yaml").is_file() else None


def plain():
    """Returns the template as CloudFormation takes it: without SAM, with the code's place in two parameters."""
    sys.path.insert(0, str(ROOT / "tests" / "template"))
    from stack import translated

    template = translated()
    code = {"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": {"Ref": "CodeKey"}}
    template["Resources"]["RollbackFunction"]["Properties"]["Code"] = code
    template["Parameters"].update({name: {"Type": "String", "Description": name} for name in parameters.OF_RELEASE})
    template.pop("Transform", None)
    return template


def write(folder, template, zipped=b"PK stands for a zip", without=()):
    """Writes a release into a folder. JSON is YAML too."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"template.yaml": json.dumps(template, indent=1).encode(), ZIP: zipped}
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
