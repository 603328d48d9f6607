#!/usr/bin/env bash
# Tests the package on a system that is really booted: packaging/deb/test.sh OLD.deb NEW.deb [SUITE]
#
# OLD is installed with apt, NEW upgrades it. SUITE is bookworm (Debian 12) if not given, or noble
# (Ubuntu 24.04). It is made with mmdebstrap, once, and booted with systemd-nspawn: systemd is its
# process 1, the network is its own. Needs root, mmdebstrap, systemd-container and curl; where they
# cannot be had JOG_TEST_DEB=skip says so, and nothing is tested.
set -euo pipefail

old=$(realpath "$1") new=$(realpath "$2") suite=${3:-bookworm}
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
made=$repo/target/packaging
# Beside systemd what the guide's commands need.
packages=systemd,systemd-sysv,adduser,apt,curl,dbus,iproute2,openssl,rsync,sudo
tarball=$made/$suite-$(cksum <<<"$packages" | cut -d' ' -f1).tar
bucket=http://127.0.0.1:9000/photos

if [ "${JOG_TEST_DEB:-}" = skip ]; then
    echo "test-deb: SKIPPED, since JOG_TEST_DEB=skip: nothing was tested"
    exit 0
fi
lacking=()
[ "$(id -u)" = 0 ] || lacking+=("root")
for program in mmdebstrap systemd-nspawn nsenter curl; do
    command -v "$program" >/dev/null || lacking+=("$program")
done
if [ ${#lacking[@]} -gt 0 ]; then
    echo "test-deb: needs ${lacking[*]}; JOG_TEST_DEB=skip leaves this test out" >&2
    exit 1
fi

if [ ! -f "$tarball" ]; then
    mkdir -p "$made"
    rm -rf "$tarball"
    from=()
    if [ "$suite" = noble ]; then
        # Debian has no keys of Ubuntu.
        ubuntu=http://archive.ubuntu.com/ubuntu
        curl -sSf --max-time 60 -o "$made/keyring.deb" \
            $ubuntu/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb
        echo "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8 $made/keyring.deb" |
            sha256sum --quiet -c
        dpkg-deb --fsys-tarfile "$made/keyring.deb" |
            tar -xO ./usr/share/keyrings/ubuntu-archive-keyring.gpg >"$made/ubuntu.gpg"
        from=("deb [signed-by=$made/ubuntu.gpg] $ubuntu noble main")
    fi
    mmdebstrap --quiet --format=tar --variant=minbase --include="$packages" \
        "$suite" "$tarball.new" "${from[@]}" >&2
    mv "$tarball.new" "$tarball"
fi

work=$(mktemp -d "$made/boot.XXXXXX")
root=$work/root
nspawn='' init=''

finish() {
    local status=$?
    if [ "$status" != 0 ]; then
        [ -z "$init" ] || guest journalctl --no-pager -n 25 >&2 || true
        echo "test-deb: FAILED: ${step:-start}" >&2
    fi
    shut_down || true
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

test=test-deb
# shellcheck source=packaging/steps.sh
. "$repo/packaging/steps.sh"

booted() {
    case $(guest systemctl is-system-running 2>/dev/null) in
    running | degraded) ;;
    *) return 1 ;;
    esac
}
boot() {
    systemd-nspawn --quiet --register=no --keep-unit --private-network --console=pipe \
        -D "$root" --boot </dev/null >>"$work/console" 2>&1 &
    nspawn=$!
    local end=$((SECONDS + 60))
    until init=$(pgrep -P "$nspawn" | head -n 1) && [ -n "$init" ] && booted; do
        kill -0 "$nspawn" 2>/dev/null || { cat "$work/console"; fail "it does not boot"; }
        [ $SECONDS -lt $end ] || { cat "$work/console"; fail "it does not boot in time"; }
        sleep 0.2
    done
}
gone() { ! kill -0 "$1"; }
# has_ended : the guest has shut down, in time
has_ended() {
    within 120 gone "$nspawn" && return 0
    echo "test-deb: the guest does not shut down; it is killed" >&2
    tail -n 20 "$work/console" >&2
    kill -9 "$init" "$nspawn" || true
    return 1
}
shut_down() {
    [ -n "$nspawn" ] || return 0
    kill "$nspawn" 2>/dev/null || true
    has_ended || true
    wait "$nspawn" || true
    nspawn='' init=''
}
# No command in the guest takes longer.
guest() { timeout --foreground 300 nsenter -t "$init" -a -- "$@"; }
# In the network of the guest, with the programs of this machine.
net() { nsenter -t "$init" -n -- "$@"; }

key() { sed -n "s/^JOG_$1_KEY=//p" "$root/etc/jog/jog.env"; }
# s3 [CURL OPTIONS] URL : signed by the root user
s3() {
    net curl -sSf --max-time 20 --aws-sigv4 aws:amz:us-east-1:s3 \
        -u "$(key ACCESS):$(key SECRET)" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@"
}
serves() { net curl -sSf --max-time 5 http://127.0.0.1:9000/_jog/health; }
reads() { [ "$(s3 "$bucket/$1")" = "$2" ] || fail "$1 is not $2"; }
main_pid() { guest systemctl show -p MainPID --value "${1:-jog}"; }
# restarted OLD_PID [UNIT]
restarted() {
    local now
    now=$(main_pid "${2:-jog}")
    [ "$now" != "$1" ] && [ "$now" != 0 ] && serves
}
apt() {
    guest env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -q -y "$@" </dev/null
}

mkdir "$root"
tar -C "$root" -xf "$tarball"
: >"$root/etc/machine-id"
cp "$old" "$root/srv/old.deb"
cp "$new" "$root/srv/new.deb"
boot

step "install"
apt install /srv/old.deb >"$work/apt"
grep -q 'sudo grep KEY= /etc/jog/jog.env' "$work/apt" || fail "it does not say how to read the keys"
until_ok 20 serves
guest systemctl is-enabled jog
[ "$(stat -c '%a %U' "$root/etc/jog/jog.env")" = '600 root' ] || fail "jog.env can be read"
[ "$(stat -c '%a' "$root/var/lib/jog")" = 700 ] || fail "the data can be read"
guest stat -c %U:%G /var/lib/jog | grep -qx jog:jog || fail "the data is not jog's"
keys=$(key ACCESS) && keys+=/$(key SECRET)
[[ $keys =~ ^[A-Z0-9]{20}/[A-Za-z0-9]{40}$ ]] || fail "no random keys"
guest ls /usr/share/doc/jog/{guide.en,guide.ja,README,SECURITY}.md.gz >/dev/null
for word in healthcheck JOG_DATA_DIR JOG_WEBHOOK_NAME_URL '.SH EXIT STATUS'; do
    guest zcat /usr/share/man/man1/jog.1.gz | grep -qF -- "$word" || fail "jog(1) has no $word"
done
# completed WORDS... : what the last of them is completed to
completed() {
    guest bash -c '. /usr/share/bash-completion/completions/jog
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) && _jog && echo "${COMPREPLY[*]}"' bash "$@"
}
[ "$(completed jog ba)" = backup ] || fail "no completion of commands"
[ "$(completed jog help us)" = user ] || fail "no completion of what help is about"
[ "$(completed jog key ro)" = rotate ] || fail "no completion of commands of two words"
[ "$(completed jog backup /x --ke)" = --keep ] || fail "no completion of options"
[ "$(completed jog server --log-format j)" = json ] || fail "no completion of values"
guest jog healthcheck
guest journalctl -u jog --no-pager | grep -q 'WARN' && fail "there are warnings in the log"
for unit in jog jog-litestream jog-replica jog-backup jog-verify; do
    # In tenths.
    guest systemd-analyze security --offline=true --threshold=15 --no-pager \
        /lib/systemd/system/$unit.service >"$work/security" || fail "$(tail -n 1 "$work/security")"
done

step "serve"
s3 -X PUT "$bucket"
s3 -X PUT --data-binary 'first' "$bucket/a"
reads a first
net curl -sS --max-time 5 -o /dev/null -w '%{http_code}' "$bucket/a" | grep -q 403 ||
    fail "it serves without credentials"
guest runuser -u jog -- jog bucket list --data-dir /var/lib/jog | grep -q photos

step "kill -9, and it comes back"
pid=$(main_pid)
guest sh -c "kill -9 $pid"
until_ok 30 restarted "$pid"
reads a first

step "hang, and the watchdog brings it back"
mkdir -p "$root/run" "$root/etc/systemd/system/jog.service.d"
printf '[Service]\nWatchdogSec=2\n' >"$root/etc/systemd/system/jog.service.d/watchdog.conf"
guest systemctl daemon-reload
guest systemctl restart jog
until_ok 20 serves
pid=$(main_pid)
sleep 5
[ "$(main_pid)" = "$pid" ] || fail "the watchdog ends a server that works"
guest sh -c "kill -STOP $pid"
until_ok 40 restarted "$pid"
reads a first
rm -r "$root/etc/systemd/system/jog.service.d"
guest systemctl daemon-reload

step "a secret as a credential, and an edited setting"
(umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$root/etc/jog/credentials/sse-key")
sed -i 's/^#\(JOG_SSE_KEY_FILE=\)/\1/' "$root/etc/jog/jog.env"
guest systemctl restart jog
until_ok 20 serves
s3 -X PUT -H 'x-amz-server-side-encryption: AES256' --data-binary 'sealed' "$bucket/sealed"
reads sealed sealed
settings=$(sha256sum <"$root/etc/jog/jog.env")

step "reboot"
guest systemctl reboot || true
has_ended || fail "it does not reboot"
boot
until_ok 20 serves
reads a first
reads sealed sealed

step "upgrade"
pid=$(main_pid)
apt install /srv/new.deb >"$work/apt"
until_ok 20 restarted "$pid"
guest dpkg -s jog | grep -qx "Version: $(dpkg-deb -f "$new" Version)" || fail "another version"
[ "$(sha256sum <"$root/etc/jog/jog.env")" = "$settings" ] || fail "the settings were changed"
reads a first
reads sealed sealed
guest systemctl is-enabled jog

for line in 0.3 0.5; do
    step "Litestream $line around it"
    install -m 0755 "$("$repo/packaging/litestream/program.sh" $line)" \
        "$root/usr/local/bin/litestream"
    guest litestream version | grep -q "$line"
    rm -rf "$root/var/backups/jog"
    guest install -d -o jog -g jog -m 0700 /var/backups/jog
    sed '1,/^# --- a folder ---$/d; s/^#//' "$repo/packaging/litestream/litestream-$line.yml" \
        >"$root/etc/jog/litestream.yml"
    guest systemctl disable --now jog
    guest systemctl enable --now jog-litestream
    until_ok 20 serves
    s3 -X PUT --data-binary "$line" "$bucket/wrapped"
    sleep 3 # Litestream looks once a second, and at nothing that ends before
    pid=$(main_pid jog-litestream)
    # JOG is its only child.
    guest sh -c "kill -9 \$(cat /proc/$pid/task/*/children)"
    until_ok 30 restarted "$pid" jog-litestream
    reads wrapped "$line"
    guest systemctl stop jog-litestream
    guest journalctl -u jog-litestream --no-pager -n 40 | grep -q 'stopping at once' &&
        fail "it was not stopped in order"
    find "$root/var/lib/jog" -maxdepth 1 -name '*metadata.db*' -exec rm -r {} +
    guest systemctl start jog-litestream
    until_ok 20 serves
    reads wrapped "$line"
    reads sealed sealed
    apt install --reinstall /srv/new.deb >"$work/apt"
    until_ok 20 serves
    guest systemctl is-active jog && fail "an upgrade starts what was disabled"
    guest systemctl disable --now jog-litestream

    step "Litestream $line beside it"
    guest systemctl enable --now jog-replica jog
    until_ok 20 serves
    s3 -X PUT --data-binary "$line beside" "$bucket/beside"
    sleep 3
    guest systemctl stop jog jog-replica
    find "$root/var/lib/jog" -maxdepth 1 -name '*metadata.db*' -exec rm -r {} +
    guest runuser -u jog -- litestream restore -config /etc/jog/litestream.yml \
        /var/lib/jog/metadata.db
    guest systemctl start jog
    until_ok 20 serves
    reads beside "$line beside"
    guest systemctl disable jog-replica
done

step "remove"
apt remove jog >"$work/apt"
guest systemctl is-active jog && fail "it still runs"
[ -s "$root/var/lib/jog/metadata.db" ] || fail "the data is gone"
[ "$(sha256sum <"$root/etc/jog/jog.env")" = "$settings" ] || fail "the settings are gone"

step "install again, on what is there"
apt install /srv/new.deb >"$work/apt"
until_ok 20 serves
guest systemctl is-enabled jog
reads a first

step "purge"
apt purge jog >"$work/apt"
grep -q '/var/lib/jog, with all objects' "$work/apt" || fail "it does not say what is left"
[ -s "$root/var/lib/jog/metadata.db" ] || fail "the data is gone"
[ -s "$root/etc/jog/credentials/sse-key" ] || fail "the master key is gone"
[ ! -e "$root/etc/jog/jog.env" ] || fail "the settings are still there"
guest systemctl cat jog 2>/dev/null && fail "the unit is still there"

# shellcheck source=packaging/deb/guide.sh
. "$repo/packaging/deb/guide.sh"

echo "test-deb: $steps passed, 0 failed"
