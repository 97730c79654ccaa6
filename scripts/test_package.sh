#!/usr/bin/env bash
# Tests the Debian package in a container with systemd, as an administrator uses it: installed, configured,
# started, killed, removed, purged. Needs a Docker engine and debootstrap.
#
#   SYNCNET_BIN_DIR   programs to put into the package   [none: the release is built]
#   DEBIAN_MIRROR     where Debian's packages are        [http://deb.debian.org/debian]
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
image=syncnet-systemd:bookworm
container=syncnet-package-$$

say() { printf '%s\n' "$*"; }

die() {
    printf 'test_package.sh: %s\n' "$*" >&2
    docker logs "$container" 2>&1 | tail -n 20 >&2 || true
    inside journalctl --no-pager -n 40 -u syncnet >&2 || true
    exit 1
}

work=$(mktemp -d)
trap 'docker rm --force --volumes "$container" >/dev/null 2>&1 || true; rm -rf -- "$work"' EXIT

# A Debian that boots, without anything of SyncNet.
if ! docker image inspect "$image" >/dev/null 2>&1; then
    say "Making $image with debootstrap; that takes a few minutes."
    if ! command -v debootstrap >/dev/null; then
        if ! apt-cache show debootstrap >/dev/null 2>&1; then apt-get update -qq; fi
        apt-get install -y -qq debootstrap >/dev/null
    fi
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,libgcc-s1 bookworm "$work/root" "$mirror" >"$work/log" 2>&1 ||
        { tail -n 20 "$work/log" >&2; exit 1; }
    tar -C "$work/root" --numeric-owner -c . | docker import - "$image" >/dev/null
    rm -rf -- "$work/root"
fi

inside() { docker exec "$container" "$@"; }

# Waits until a command inside succeeds. The first argument says what that means.
wait_for() {
    local what=$1 deadline=$((SECONDS + 90))
    shift
    until inside "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || die "waited for $what"
        sleep 0.2
    done
}

main_pid() { inside systemctl show --property MainPID --value syncnet; }

package=$(scripts/make_deb.sh "$work" | tail -n 1)
# What systemd needs of the engine: to mount, and a control group of its own.
options=(--cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined --cgroupns host)
if [ -d /sys/fs/cgroup/systemd ]; then
    options+=(--tmpfs /sys/fs/cgroup --volume /sys/fs/cgroup/systemd:/sys/fs/cgroup/systemd)
else
    options+=(--volume /sys/fs/cgroup:/sys/fs/cgroup)
fi
docker run --detach --name "$container" "${options[@]}" --tmpfs /run --tmpfs /run/lock --tmpfs /tmp \
    --stop-signal SIGRTMIN+3 --env container=docker "$image" /sbin/init >/dev/null
# A container without some device is "degraded" and has booted all the same.
wait_for "systemd to boot" sh -c 'systemctl is-system-running --wait | grep -E "running|degraded"'
docker cp "$package" "$container:/root/syncnet.deb" >/dev/null

say "Install."
inside dpkg --install /root/syncnet.deb >"$work/log" 2>&1 || { cat "$work/log" >&2; die "it cannot be installed"; }
[ "$(inside stat --format '%a %U' /etc/syncnet/cluster.secret)" = "600 syncnet" ] || die "the secret is not its user's alone"
inside systemctl is-active syncnet >/dev/null && die "it runs before it was configured"
inside sh -c 'syncnet-server --version && syncnet-client --version && syncnet-admin --version' >/dev/null || die "a program does not run"
inside test -s /usr/share/man/man1/syncnet-server.1.gz || die "there is no manual page"
inside test -s /usr/share/bash-completion/completions/syncnet-admin || die "there are no completions"

say "A mistake in the settings is one sentence, and not tried again."
inside sh -c 'echo SYNCNET_SERVERS=localhost >>/etc/syncnet/syncnet.env'
inside systemctl start syncnet 2>/dev/null && die "it starts with wrong settings"
[ "$(inside systemctl show --property ExecMainStatus --value syncnet)" = 2 ] || die "the exit status is not 2"
inside sh -c 'journalctl --no-pager -u syncnet | grep -q "the variable SYNCNET_SERVERS has"' || die "the sentence is missing"
inside sed -i 's/^SYNCNET_SERVERS=.*/SYNCNET_SERVERS=server1=localhost:8000/' /etc/syncnet/syncnet.env
inside systemctl reset-failed syncnet

say "Start, chat, crash, restart."
inside systemctl enable --now syncnet 2>/dev/null || die "it does not start"
ready=(env SYNCNET_SERVER_ID=server1 SYNCNET_SERVERS=server1=localhost:8000 syncnet-server --ready)
wait_for "the server to be ready" "${ready[@]}"
printf 'hello\n' | docker exec --interactive --env HOME=/root "$container" \
    syncnet-client --server-host localhost --server-port 8000 --user alice --room lobby >"$work/log" 2>&1 || die "nothing can be said"
[ "$(inside stat --format %u "/proc/$(main_pid)")" != 0 ] || die "it runs as root"
inside test -d /var/lib/syncnet/server1 || die "its data is elsewhere"
# If the watchdog were not fed, this would be empty.
[ -n "$(inside systemctl show --property WatchdogTimestamp --value syncnet)" ] || die "the watchdog is not fed"
old=$(main_pid)
inside systemctl kill --signal SIGKILL syncnet
wait_for "systemd to start it again" sh -c "new=\$(systemctl show --property MainPID --value syncnet); [ \"\$new\" != 0 ] && [ \"\$new\" != $old ]"
wait_for "the server to be ready again" "${ready[@]}"
inside syncnet-admin status --servers localhost:8000 --simple | grep -q ' messages=1$' || die "the message is gone"

say "Install again, as an upgrade: it goes on as the new one."
old=$(main_pid)
inside dpkg --install /root/syncnet.deb >"$work/log" 2>&1 || { cat "$work/log" >&2; die "it cannot be upgraded"; }
[ "$(main_pid)" != "$old" ] || die "the old program still runs"
wait_for "the server to be ready after the upgrade" "${ready[@]}"

say "Remove keeps the data, purge takes all."
inside dpkg --remove syncnet >/dev/null 2>&1 || die "it cannot be removed"
inside systemctl is-active syncnet >/dev/null && die "it still runs"
inside sh -c 'test -e /var/lib/syncnet/server1 && test -e /etc/syncnet/cluster.secret' || die "the data went with the programs"
inside sh -c 'test ! -e /usr/bin/syncnet-server' || die "the programs are still there"
inside dpkg --purge syncnet >/dev/null 2>&1 || die "it cannot be purged"
left=$(inside find / -xdev -iname '*syncnet*' -not -path '/root/*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/run/*')
[ -z "$left" ] || die "this is left behind: $left"
say "The package installs, runs, is removed and purged."
