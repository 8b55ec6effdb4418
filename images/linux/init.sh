#!/bin/busybox sh
# The first process of the Linux host: the file systems that a person and the tool need, then a shell on the console.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
# A message of the kernel for a signal that an access earned, with its ESR.
echo 1 >/proc/sys/debug/exception-trace
# Kernel messages stay in the log (dmesg): on the console they would get into the answers.
echo 1 >/proc/sys/kernel/printk
export PATH=/bin HOME=/ PS1='realmcheck-host# '
echo "realmcheck: host is up"
exec setsid cttyhack sh
