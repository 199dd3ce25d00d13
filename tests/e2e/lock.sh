#!/usr/bin/env bash
# Writes tests/e2e/locked/ from tests/e2e/requirements/: all packages of each tool, with the hashes of all their files.
# A package that is locked already keeps its version. `lock.sh --upgrade` takes the newest versions.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
for pins in requirements/*.txt; do
    name=$(basename "$pins" .txt)
    # LocalEmu's packages exclude each other for Python 3.14, so its list is only for the version that it needs.
    python=(--universal --python-version 3.10)
    [[ $name != localemu ]] || python=(--python-version 3.13)
    echo "locking $name"
    ../../.tools/uv/bin/uv pip compile --quiet "${python[@]}" --generate-hashes --no-header --no-annotate "$@" \
        "$pins" --output-file "locked/$name.txt"
done
