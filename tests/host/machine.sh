# A Debian with a real systemd, in namespaces of its own: sourced by the tests that install packages. Needs root, debootstrap
# and the mirror of Debian. Everything lies in a folder of its own and is gone at the end.
# shellcheck shell=bash

# Where the root that is copied for each run is kept: $PWD/target/host/SUITE.
suite=$(. /etc/os-release && [ "${ID:-}" = debian ] && echo "${VERSION_CODENAME:-bookworm}" || echo bookworm)
base=$PWD/target/host/$suite

# What such a machine has beside a minimal Debian.
bootstrap_packages=systemd,systemd-sysv,dbus,udev,ca-certificates,adduser,init-system-helpers

# machine_base PACKAGE…: makes the root that is copied; the packages are fetched into it and not installed.
machine_base() {
    if [ ! -e "$base.complete" ]; then
        rm -rf --one-file-system "$base"
        mkdir -p "$(dirname "$base")"
        debootstrap --variant=minbase --include="$bootstrap_packages" "$suite" "$base" >"$base.log" 2>&1 ||
            { tail -n 20 "$base.log" >&2; return 1; }
        touch "$base.complete"
    fi
    cp /etc/resolv.conf "$base/etc/resolv.conf"
    chroot "$base" apt-get update -q >>"$base.log" 2>&1 &&
        chroot "$base" apt-get install -qy --no-install-recommends --download-only "$@" >>"$base.log" 2>&1 ||
        { tail -n 20 "$base.log" >&2; return 1; }
}

# machine_boot: copies the root to $work/root and boots it.
machine_boot() {
    root=$work/root
    cp -a --reflink=auto "$base" "$root"
    echo relay >"$root/etc/hostname"
    echo '127.0.0.1 localhost relay' >"$root/etc/hosts"
    : >"$work/console"
    # What waits for a terminal finds none.
    ln -s /dev/null "$root/etc/systemd/system/console-getty.service"
    machine_on
}

# machine_on: boots $root. $machine is the process of its systemd.
machine_on() {
    group=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)/mailsluice-test-$$
    mkdir "$group"
    sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' sh "$group" \
        unshare --mount --pid --cgroup --ipc --uts --net --fork --kill-child \
        sh tests/host/boot.sh "$root" "$work/console" </dev/null >>"$work/console" 2>&1 &
    namespaces=$!
    await "the first process of the machine" 10 has_child "$namespaces"
    machine=$(pgrep -P "$namespaces" | head -n 1)
    await "its systemd" 60 is_up
}

# inside COMMAND…: runs it in the machine, as its root.
inside() {
    nsenter --target "$machine" --mount --pid --uts --ipc --net --cgroup --root --wd \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive "$@"
}

# in_its_network COMMAND…: runs a program of this machine where the other one's ports are.
in_its_network() { nsenter --target "$machine" --net "$@"; }

# machine_off: takes its power away. What is on its disk stays.
machine_off() {
    if [ -n "${namespaces:-}" ]; then
        kill -KILL "$namespaces" 2>/dev/null || true
        wait "$namespaces" 2>/dev/null || true
        namespaces=
    fi
    if [ -n "${group:-}" ] && [ -d "$group" ]; then
        await "the end of its processes" 20 is_empty "$group" || true
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    fi
}

# machine_end: ends it and removes what is left.
machine_end() {
    machine_off
    [ -z "${work:-}" ] || rm -rf --one-file-system "$work"
}

# await WHAT SECONDS COMMAND…: until it succeeds.
await() {
    local what=$1 until=$((SECONDS + $2))
    shift 2
    until "$@"; do
        if [ "$SECONDS" -ge "$until" ]; then
            echo "waited in vain for $what" >&2
            return 1
        fi
        sleep 0.1
    done
}

has_child() { pgrep -P "$1" >/dev/null; }
is_empty() { ! grep -q 1 <(grep '^populated' "$1/cgroup.events"); }
is_up() {
    local state
    state=$(inside systemctl is-system-running 2>/dev/null) || true
    [ "$state" = running ] || [ "$state" = degraded ]
}
