"""Builds the function's zip a second time, in another folder with another home of cargo, and compares the checksums."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "target" / "dist"


def copy_to(folder):
    """Copies the files that git knows, and links the tools and what cargo has downloaded."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    (folder / "source" / ".tools").symlink_to(ROOT / ".tools")
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    (folder / "cargo").mkdir()
    for name in ("registry", "config.toml"):
        if (home / name).exists():
            (folder / "cargo" / name).symlink_to(home / name)


def sums(folder):
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines) if name.endswith(".zip")}


def main():
    if not (DIST / "SHA256SUMS").exists():
        print("error: there is no release in target/dist: run `make dist` first", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="apigw-rollback-twice-") as name:
        folder = Path(name)
        copy_to(folder)
        env = dict(os.environ, CARGO_HOME=str(folder / "cargo"))
        command = [sys.executable, "deploy/dist/dist.py", "--code-only", "--into", str(folder / "dist")]
        subprocess.run(command, cwd=folder / "source", env=env, check=True)
        first, second = sums(DIST), sums(folder / "dist")
    for archive in sorted(first.keys() | second.keys()):
        same = first.get(archive) == second.get(archive)
        print(f"{'ok  ' if same else 'FAIL'} {archive}: {first.get(archive)} and {second.get(archive)}")
    return 0 if first == second and first else 1


if __name__ == "__main__":
    sys.exit(main())
