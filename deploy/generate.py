"""Writes the generated files of the doors from template.yaml and Cargo.toml, or checks them: generate.py [--check]"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import cdk_files
import terraform_files
from parameters import ROOT, version

HERE = Path(__file__).resolve().parent
TERRAFORM = HERE / "terraform"


def formatted(text):
    """Formats Terraform code as `terraform fmt` does."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "main.tf"
        file.write_text(text)
        subprocess.run([ROOT / ".tools/terraform/bin/python", HERE / "terraform.py", "fmt", str(file)],
                       check=True, stdout=subprocess.DEVNULL)
        return file.read_text()


def with_version(path, pattern):
    """Returns a file with the version of Cargo.toml in the group of the pattern."""
    text = path.read_text()
    found = re.search(pattern, text, re.MULTILINE)
    assert found, f"{path} has no version where {pattern} expects it"
    return text[:found.start(1)] + version() + text[found.end(1):]


def files():
    """Returns path and content of each generated file."""
    readme = TERRAFORM / "README.md"
    package, lock = HERE / "cdk/package.json", HERE / "cdk/package-lock.json"
    locked = json.loads(lock.read_text())
    locked["version"] = locked["packages"][""]["version"] = version()
    return {
        TERRAFORM / "variables.tf": formatted(terraform_files.variables_tf()),
        TERRAFORM / "parameters.tf": formatted(terraform_files.parameters_tf()),
        TERRAFORM / "outputs.tf": formatted(terraform_files.outputs_tf()),
        readme: terraform_files.readme(
            readme.read_text(), (TERRAFORM / "versions.tf").read_text(), (TERRAFORM / "main.tf").read_text()),
        HERE / "cdk/src/settings.ts": cdk_files.settings_ts(),
        HERE / "cdk/src/parameters.ts": cdk_files.parameters_ts(),
        package: with_version(package, r'^  "version": "([^"]+)"'),
        lock: json.dumps(locked, indent=2, ensure_ascii=False) + "\n",
        HERE / "action/action.yml": with_version(HERE / "action/action.yml", r'^    default: "(\d+\.\d+\.\d+[^"]*)" # version'),
    }


def outdated():
    """Returns the generated files that differ from what the template would give."""
    return [path for path, text in files().items() if not path.is_file() or path.read_text() != text]


def main():
    wrong = outdated()
    if "--check" not in sys.argv:
        for path, text in files().items():
            path.write_text(text)
        wrong = []
    for path in wrong:
        print(f"error: {path.relative_to(ROOT)} does not match template.yaml: run `make door-files`", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
