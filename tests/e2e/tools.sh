#!/usr/bin/env bash
# Installs the pinned tools of the demo, the end-to-end test and the linters into .tools/, each in its own
# virtual environment, because they need different versions of the same libraries. pip checks the hash of every package:
# requirements/ has the versions that we chose, and locked/ all packages with their hashes (`make lock`).
#
#   tools.sh [sam|cargo-lambda|cfn-lint|checkov|emulator|localemu|awscli|terraform ...]     without a name: those of `make setup`
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=$(cd "$here/../.." && pwd)/.tools

# Prints the lowest 3.x that a tool supports.
floor_of() {
    [[ $1 == localemu ]] && echo 13 || echo 10
}

suits() {
    "$1" -c "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, $2))" >/dev/null 2>&1
}

find_python() {
    local floor=$1 candidate pyenv_root=${PYENV_ROOT:-$HOME/.pyenv}
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10 \
        "$pyenv_root"/versions/3.1[0-9]*/bin/python3; do
        if suits "$candidate" "$floor"; then
            echo "$candidate"
            return
        fi
    done
    cat >&2 <<END
error: no Python 3.$floor or newer with the venv module was found.
Install one (on Debian or Ubuntu: apt-get install python3 python3-venv), or give its path:
    make setup PYTHON=/path/to/python3
END
    return 1
}

# Fails if a version that we chose is not the locked one.
check_lock() {
    local pin
    while read -r pin; do
        if ! grep -q "^${pin//./\\.} " "$2"; then
            echo "error: $2 does not have $pin: run \`make lock\`" >&2
            return 1
        fi
    done < <(grep '^[^#]' "$1")
}

# The list is complete, so pip resolves nothing; its resolver takes a package with and without extras for two.
pip_install() {
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
        --only-binary :all: "${@:2}"
}

install() {
    local name=$1 pins=$here/requirements/$1.txt lock=$here/locked/$1.txt python from_source=() broken
    if [[ ! -f $pins ]]; then
        echo "error: there is no tool '$name'; choose from:" "$(cd "$here/requirements" && ls | sed 's/\.txt$//' | xargs)" >&2
        return 1
    fi
    # `make lock` itself starts with the uv that is locked.
    [[ $name == uv ]] || check_lock "$pins" "$lock"
    # The copied list marks a finished installation, so an interrupted or outdated one is repeated.
    if cmp -s "$lock" "$tools/$name/installed.txt"; then
        return
    fi
    python=$(find_python "$(floor_of "$name")")
    echo "installing $name into .tools/$name"
    rm -rf "${tools:?}/$name"
    "$python" -m venv "$tools/$name"
    # These packages exist only as source. pip checks no hash of what it fetches for a build, so it fetches nothing and
    # builds with the locked setuptools.
    if [[ $name == localemu ]]; then
        pip_install "$tools/$name" --requirement <(sed -n '/^setuptools==/,/[^\]$/p' "$lock")
        from_source=(--no-binary airspeed-ext,crontab,jsonpath-rw --no-build-isolation)
    fi
    pip_install "$tools/$name" "${from_source[@]}" --requirement "$lock"
    if ! broken=$("$tools/$name/bin/python" -m pip check); then
        echo "error: $lock is incomplete: $broken" >&2
        return 1
    fi
    cp "$lock" "$tools/$name/installed.txt"
}

[[ $# -gt 0 ]] || set -- sam cargo-lambda cfn-lint checkov emulator awscli
mkdir -p "$tools"
for name in "$@"; do
    install "$name"
done
