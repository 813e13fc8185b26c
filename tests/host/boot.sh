#!/bin/sh
# The first process of the machine, in its namespaces: makes the folder $1 its root, and becomes its systemd. $2 is a file for
# its console.
set -e
root=$1
console=$2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup" 2>/dev/null && umount "$root/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
# Nobody but root may make files in it, or the kernel keeps shells from `>` to a device that is not theirs
# (may_create_in_sticky). The devices are its own: its systemd, and what runs in it, change who owns them.
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
while read -r device major minor; do
    mknod -m 0666 "$root/dev/$device" c "$major" "$minor"
done <<END
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
END
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for at in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${at%%:*}" "$root/dev/${at##*:}"; done
: >"$root/dev/console"
mount --bind "$console" "$root/dev/console"
cd "$root"
pivot_root . mnt
cd /
umount -l /mnt
# As container managers leave it: systemd mounts credentials aside and has them come back this way.
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system systemd.unified_cgroup_hierarchy=1
