#!/usr/bin/env bash
# Builds the image and runs docker-compose.yml, without a Docker engine: packaging/docker/test.sh
#
# buildah builds the Dockerfile as it is, except that no registry is needed: the images that it begins
# with are made here, of this machine's Debian, Rust and Litestream. podman-compose starts it with a
# second JOG as the replica, starts it again, and restores it on an empty volume, with both lines of
# Litestream; podman's own folder for temporary files is taken away. Needs root, buildah, podman, runc,
# mmdebstrap and busybox-static; where they cannot be had JOG_TEST_DOCKER=skip says so.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
made=$repo/target/packaging

if [ "${JOG_TEST_DOCKER:-}" = skip ]; then
    echo "test-docker: SKIPPED, since JOG_TEST_DOCKER=skip: nothing was tested"
    exit 0
fi
lacking=()
[ "$(id -u)" = 0 ] || lacking+=("root")
for program in buildah podman runc mmdebstrap curl python3; do
    command -v "$program" >/dev/null || lacking+=("$program")
done
[ -x /bin/busybox ] || lacking+=("busybox-static")
if [ ${#lacking[@]} -gt 0 ]; then
    echo "test-docker: needs ${lacking[*]}; JOG_TEST_DOCKER=skip leaves this test out" >&2
    exit 1
fi
tools=$("$repo/packaging/tools.sh")
export PATH="$tools:$PATH"

work=$(mktemp -d "$made/docker.XXXXXX")
# Of its own, with a short name: from 50 characters on podman restarts no container.
run=$(mktemp -d /tmp/jog-docker.XXXXXX)
target=''
: >"$work/compose.log"
export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
cat >"$CONTAINERS_STORAGE_CONF" <<TEXT
[storage]
driver = "vfs"
graphroot = "$work/images"
runroot = "$run"
TEXT
cat >"$CONTAINERS_CONF" <<TEXT
[containers]
netns = "host"
default_ulimits = ["nofile=1024:$(ulimit -Hn)", "nproc=8192:8192"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
TEXT

finish() {
    local status=$?
    if [ "$status" != 0 ]; then
        tail -n 20 "$work/compose.log" >&2 || true
        podman ps -a >&2 || true
        podman logs --tail 30 jog_jog_1 >&2 || true
    fi
    compose down -v >/dev/null 2>&1 || true
    podman rm --force --all >/dev/null 2>&1 || true
    [ -z "$target" ] || { kill "$target" && wait "$target"; } 2>/dev/null || true
    [ "$status" = 0 ] || echo "test-docker: FAILED: ${step:-}" >&2
    buildah rm --all >/dev/null 2>&1 || true
    rm -rf "$work" "$run"
    exit "$status"
}
trap finish EXIT
test=test-docker
# shellcheck source=packaging/steps.sh
. "$repo/packaging/steps.sh"
# In the network of this machine, where the replica is. Docker adds no writable folder to a read-only
# root; podman would.
printf 'services: {jog: {network_mode: host}}\n' >"$work/host.yml"
env_file=()
compose() {
    (cd "$repo" && podman-compose "${env_file[@]}" --podman-run-args=--read-only-tmpfs=false -p jog \
        -f docker-compose.yml -f "$work/host.yml" "$@")
}
# The guide's commands, on podman-compose; --env-file stands for the file .env.
# shellcheck source=packaging/blocks.sh
. "$repo/packaging/blocks.sh"
docker() {
    case "$1 $2" in
    "compose build") make_image ;;
    "compose up") compose "${@:2}" --no-build ;;
    "compose "*) compose "${@:2}" ;;
    *) fail "no such command: docker $*" ;;
    esac
}
# as_typed [SED EXPRESSION] : runs what it reads, with other places in it
as_typed() {
    sed "${1:-}" >"$work/typed"
    # shellcheck disable=SC1091
    . "$work/typed" >"$work/said" 2>&1 || { cat "$work/said"; fail "$(cat "$work/typed")"; }
}
run_block() { as_typed "${2:-}" < <(take_block "$1"); }
run_inline() { as_typed "${2:-}" < <(take_inline "$1"); }
# process : the number of the container's first process here
process() { podman inspect --format '{{.State.Pid}}' jog_jog_1; }
# stops COMMAND... : it ends by itself, within the 10 s that Docker gives at least
stops() {
    local start=$SECONDS
    compose "$@" >>"$work/compose.log" 2>&1
    [ $((SECONDS - start)) -lt 9 ] || fail "it does not end by itself"
}
# from_folder IMAGE FOLDER [ENV...] : an image of a folder
from_folder() {
    local image=$1 folder=$2
    shift 2
    printf 'FROM scratch\nCOPY . /\n' >"$work/from-folder"
    [ $# = 0 ] || echo "ENV $*" >>"$work/from-folder"
    buildah bud --quiet --isolation chroot -f "$work/from-folder" -t "$image" "$folder" >/dev/null
}

step "the Dockerfile and the scripts are well formed"
hadolint "$repo/Dockerfile"
if command -v shellcheck >/dev/null; then shellcheck "$repo/packaging/docker/entrypoint.sh"; fi

step "the images that it begins with"
mmdebstrap --quiet --variant=minbase --include=gcc,libc6-dev,musl-tools,ca-certificates \
    bookworm "$work/rust" >&2
mkdir -p "$work/base"/{bin,etc,usr/local/bin}
cp /bin/busybox "$work/base/bin/busybox"
for name in sh cat ls rm; do ln -s busybox "$work/base/bin/$name"; done
for line in 0.3 0.5; do
    install -D "$("$repo/packaging/litestream/program.sh" $line)" \
        "$work/litestream-$line/usr/local/bin/litestream"
done
usual=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
from_folder localhost/jog-test-rust "$work/rust" PATH=/usr/local/cargo/bin:$usual \
    RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo
from_folder localhost/jog-test-base "$work/base" PATH=$usual
for line in 0.3 0.5; do
    from_folder localhost/jog-test-litestream-$line "$work/litestream-$line"
done
rm -rf "$work/rust"

step "the image"
make_image() {
    buildah bud --quiet --isolation chroot --format docker -t localhost/jog \
        --volume "${RUSTUP_HOME:-$HOME/.rustup}:/usr/local/rustup" \
        --volume "${CARGO_HOME:-$HOME/.cargo}:/usr/local/cargo" \
        --build-arg RUST_IMAGE=localhost/jog-test-rust \
        --build-arg BASE_IMAGE=localhost/jog-test-base \
        --build-arg LITESTREAM_IMAGE=localhost/jog-test-litestream-0.5 \
        -f "$repo/Dockerfile" "$repo" >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log"; false; }
}
run_inline 'docker compose build'
LITESTREAM_IMAGE=of-my-own compose config >"$work/config"
grep -q 'LITESTREAM_IMAGE[=:] *of-my-own' "$work/config" ||
    fail "docker-compose.yml does not take LITESTREAM_IMAGE"
podman inspect --format '{{.HealthCheck}} {{.User}}' localhost/jog | grep -q 'healthcheck.* 10001:10001' ||
    fail "no health check, or another user"

step "a second JOG, for the replica"
# That of the image, which is static.
image=$(buildah from --name jog-test-copy localhost/jog)
cp "$(buildah mount "$image")/usr/local/bin/jog" "$work/jog"
mkdir "$work/target"
JOG_PORT=9600 JOG_ADDRESS=127.0.0.1 JOG_DATA_DIR=$work/target JOG_ACCESS_KEY=replica \
    JOG_SECRET_KEY=replica-secret "$work/jog" server 2>"$work/target.log" &
target=$!
s3() {
    curl -sSf --max-time 20 --aws-sigv4 aws:amz:us-east-1:s3 \
        -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@"
}
until_ok 20 s3 -u replica:replica-secret -X PUT http://127.0.0.1:9600/backup-bucket
jog() { s3 -u mykey:mysecret123 "$@"; }
serves() { curl -sSf --max-time 5 http://127.0.0.1:9000/_jog/health; }
export JOG_ACCESS_KEY=mykey JOG_SECRET_KEY=mysecret123

step "docker compose up"
run_block docker:up
until_ok 30 serves
run_inline 'docker compose ps'
grep -q jog_jog_1 "$work/said" || fail "$(cat "$work/said")"
podman healthcheck run jog_jog_1
jog -X PUT http://127.0.0.1:9000/photos
jog -X PUT --data-binary first http://127.0.0.1:9000/photos/a

step "kill -9, and it comes back"
# Without asking podman how far it is: whoever asks often holds its lock, and it gets no further.
comes_back() {
    local before
    before=$(process)
    kill -9 "$before"
    until_ok 10 gone "$before"
    until_ok 60 serves
}
gone() { ! kill -0 "$1"; }
comes_back
[ "$(jog http://127.0.0.1:9000/photos/a)" = first ] || fail "the object is gone"

step "a backup and a verification with more files than fit into memory"
stops stop
volume() { podman volume inspect --format '{{.Mountpoint}}' jog_jog-data; }
[ "$(cd "$(volume)" && echo metadata.db*)" = metadata.db ] || fail "the WAL is still there"
# Rows of deleted objects, whose files are not looked for.
python3 - "$(volume)/metadata.db" <<'PYTHON'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
rows = ((2**50, f"b{n % 50}", n << 20) for n in range(600_000))
db.executemany("INSERT INTO garbage (deleted_ms, bucket, blob, size) VALUES (?, ?, ?, 1)", rows)
db.commit()
PYTHON
compose start >>"$work/compose.log" 2>&1
until_ok 30 serves
podman exec jog_jog_1 jog verify --deep | grep -x sound
if podman exec -e SQLITE_TMPDIR=/none jog_jog_1 jog verify >"$work/verify" 2>&1; then
    fail "this takes no temporary file, so it tests nothing"
fi
grep SQLITE_TMPDIR "$work/verify" || fail "it does not say what is missing"
compose down -v >>"$work/compose.log" 2>&1

export LITESTREAM_ENDPOINT=http://127.0.0.1:9600
export AWS_ACCESS_KEY_ID=replica AWS_SECRET_ACCESS_KEY=replica-secret
for line in 0.5 0.3; do
    step "up with Litestream $line"
    # As `--build-arg LITESTREAM_IMAGE=...` would make it.
    printf 'FROM %s\nCOPY --from=%s /usr/local/bin/litestream /usr/local/bin/litestream\n' \
        localhost/jog localhost/jog-test-litestream-$line >"$work/with-litestream"
    buildah bud --quiet --isolation chroot --format docker -f "$work/with-litestream" \
        -t localhost/jog "$work/litestream-$line" >/dev/null
    export LITESTREAM_REPLICA_URL=''
    compose up -d --no-build >>"$work/compose.log" 2>&1
    until_ok 30 serves
    podman exec jog_jog_1 litestream version | grep "^v\?$line"
    jog -X PUT http://127.0.0.1:9000/photos
    jog -X PUT --data-binary first http://127.0.0.1:9000/photos/a
    compose down >>"$work/compose.log" 2>&1

    export LITESTREAM_REPLICA_URL=s3://backup-bucket/$line/metadata
    compose up -d --no-build >>"$work/compose.log" 2>&1
    until_ok 30 serves
    [ "$(jog http://127.0.0.1:9000/photos/a)" = first ] || fail "the object is gone"
    jog -X PUT --data-binary second http://127.0.0.1:9000/photos/b
    in_replica() {
        s3 -u replica:replica-secret \
            "http://127.0.0.1:9600/backup-bucket?list-type=2&prefix=$line/" | grep -q '<Key>'
    }
    until_ok 20 in_replica
    sleep 3
    stops down

    step "up once more, where the database and the replica are"
    compose up -d --no-build >>"$work/compose.log" 2>&1
    until_ok 30 serves
    [ "$(jog http://127.0.0.1:9000/photos/b)" = second ] || fail "the object is gone"
    podman healthcheck run jog_jog_1
    jog -X PUT --data-binary third http://127.0.0.1:9000/photos/c
    sleep 3
    # The wrapper goes, and JOG with it.
    comes_back
    [ "$(jog http://127.0.0.1:9000/photos/c)" = third ] || fail "the object is gone"
    rm -rf "$work/buckets"
    cp -a "$(volume)/buckets" "$work/buckets"
    compose down -v >>"$work/compose.log" 2>&1

    step "up on an empty volume: restored"
    compose up -d --no-build >>"$work/compose.log" 2>&1
    until_ok 30 serves
    jog 'http://127.0.0.1:9000/photos?list-type=2' | grep -q '<Key>c</Key>' ||
        fail "nothing restored"
    cp -a "$work/buckets" "$(volume)/"
    [ "$(jog http://127.0.0.1:9000/photos/c)" = third ] || fail "the object is not served"
    compose down -v >>"$work/compose.log" 2>&1
done

step "as the guide has it: Litestream, from variables and from .env, and a folder of this machine"
unset JOG_ACCESS_KEY JOG_SECRET_KEY LITESTREAM_REPLICA_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
replica='s/your-aws-key/replica/; s/your-aws-secret/replica-secret/'
run_block docker:litestream "$replica"
until_ok 30 serves
jog -X PUT http://127.0.0.1:9000/from-variables
sleep 3
compose down -v >>"$work/compose.log" 2>&1
unset LITESTREAM_ENDPOINT
take_block docker:env | sed "$replica; s#https://s3.example.com#http://127.0.0.1:9600#" >"$work/.env"
env_file=(--env-file "$work/.env")
run_inline 'docker compose up -d'
until_ok 30 serves
[[ $(jog http://127.0.0.1:9000/) = *from-variables* ]] || fail "nothing restored"
stops down
env_file=()
mkdir -m 0700 "$work/folder"
run_inline 'sudo chown 10001:10001 /srv/jog' "s#^sudo ##; s#/srv/jog#$work/folder#"
podman run -d --name jog_folder --network host -v "$work/folder:/data" localhost/jog >>"$work/compose.log" 2>&1
until_ok 30 serves
podman rm -f -t 10 jog_folder >>"$work/compose.log" 2>&1
[ -s "$work/folder/metadata.db" ] || fail "the folder is not used"

all_blocks_ran docker

echo "test-docker: $steps passed, 0 failed"
