"""`make dist`: builds a release into target/dist/.

    dist.py [--code-only] [--into FOLDER]

`--code-only` leaves out the command-line tool and the list of components, for tests.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import templates
from archive import BadProgram, check_machine, needed_glibc, pack

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
PROGRAMS = ROOT / "target" / "dist-programs"
TARGETS = {"x86_64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
# The oldest glibc that Rust's standard library supports, and that zig links for (RHEL 7, 2014).
GLIBC = "2.17"
# Also in the folder: `sam publish` uploads the texts, and `sam deploy` takes its defaults from the last file.
OTHERS = ("README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "samconfig.toml")


class CannotRelease(Exception):
    """The sentence says what is wrong, and then what to do."""


def output_of(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def version():
    """Returns the version in Cargo.toml, which the template must have too."""
    found = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
    named = templates.version_of(templates.source())
    if named != found:
        raise CannotRelease(f"Cargo.toml has version {found}, and template.yaml {named}: give both the same")
    return found


def architectures():
    """Returns the architectures whose Rust target is installed, and says which is not."""
    found = []
    for architecture, target in TARGETS.items():
        if Path(output_of("rustc", "--print", "target-libdir", "--target", target)).is_dir():
            found.append(architecture)
        else:
            print(f"no code for {architecture}: the Rust target is not installed (rustup target add {target})")
    if not found:
        raise CannotRelease("no Rust target is installed for which a release has code")
    return found


def without_local_paths():
    """Returns the settings of rustc that keep the paths of this machine out of the programs."""
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    library = Path(output_of("rustc", "--print", "sysroot")) / "lib/rustlib/src/rust"
    commit = re.search(r"^commit-hash: (\w+)$", output_of("rustc", "-vV"), re.MULTILINE).group(1)
    # The last path that fits wins.
    paths = {home: "/cargo", ROOT: "/src", library: f"/rustc/{commit}"}
    return [f"--remap-path-prefix={path}={name}" for path, name in paths.items()]


def build(program, target, *options):
    """Compiles and links a program as `sam build` does. Returns its path."""
    flags = ", ".join(f'"{flag}"' for flag in without_local_paths())
    # Flags in the environment would replace those that cargo-lambda chooses for the processors of Lambda.
    env = {name: value for name, value in os.environ.items() if "RUSTFLAGS" not in name and name != "CARGO_TARGET_DIR"}
    env["PATH"] = os.pathsep.join([str(TOOLS / "cargo-lambda/bin"), env["PATH"]])
    command = ["cargo", "lambda", "build", "--locked", "--release", "--bin", program, "--target", target,
               "--lambda-dir", str(PROGRAMS / target), "--config", f"build.rustflags=[{flags}]"]
    subprocess.run([*command, *options], cwd=ROOT, env=env, check=True)
    return PROGRAMS / target / program / "bootstrap"


def add_function(into, architecture):
    program = build("apigw-rollback-function", TARGETS[architecture])
    check_machine(program, architecture)
    pack(program, into / templates.zip_of(architecture))


def add_tool(into, architecture):
    """Adds the command-line tool, for every processor of the architecture and for old systems."""
    program = build("apigw-rollback", f"{TARGETS[architecture]}.{GLIBC}", "--features", "cli", "--disable-optimizations")
    check_machine(program, architecture)
    needed = needed_glibc(program)
    if needed > tuple(map(int, GLIBC.split("."))):
        raise CannotRelease(f"the command-line tool needs glibc {'.'.join(map(str, needed))}, not {GLIBC} at most")
    name = f"apigw-rollback-{architecture}-linux"
    shutil.copy(program, into / name)
    (into / name).chmod(0o755)
    print(f"{name} needs glibc {'.'.join(map(str, needed))} or newer")


def add_templates(into, built, number):
    (into / "template.yaml").write_text(templates.written(templates.plain(built)))
    for architecture in built:
        (into / templates.sam_name(architecture)).write_text(templates.written(templates.for_sam(architecture)))
    script = (ROOT / "deploy/dist/upload.sh").read_text().replace("@VERSION@", number)
    (into / "upload.sh").write_text(script)
    (into / "upload.sh").chmod(0o755)


def add_sums(into):
    """Writes the checksums as `sha256sum --check` reads them."""
    files = sorted(file for file in into.iterdir() if file.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (into / "SHA256SUMS").write_text("".join(lines))


def release(into, code_only):
    number, built = version(), architectures()
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for architecture in built:
        add_function(into, architecture)
    add_templates(into, built, number)
    for name in OTHERS:
        shutil.copy(ROOT / name, into)
    if not code_only:
        for architecture in built:
            add_tool(into, architecture)
        shutil.copy(ROOT / "target/sbom.cdx.json", into / "apigw-rollback.cdx.json")
    add_sums(into)
    print(f"apigw-rollback {number} in {into}:")
    print((into / "SHA256SUMS").read_text(), end="")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--code-only", action="store_true")
    parser.add_argument("--into", type=Path, default=ROOT / "target" / "dist")
    given = parser.parse_args()
    try:
        release(given.into.absolute(), given.code_only)
    except (CannotRelease, BadProgram) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: {error.cmd[0]} failed with status {error.returncode}; its message is above", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
