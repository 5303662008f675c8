# run-dir.create
rm -rf /var/run/brig/exits/web01
rm -rf /var/run/brig/exits/web01.resets
install -d -m 0700 -o 0 -g 0 /var/run/brig/vms/web01
install -d -m 0755 -o 0 -g 0 /var/run/brig/vms/web01/root
install -d -m 0755 -o 0 -g 0 /var/run/brig/vms/web01/vm
install -m 0600 -o 20001 -g 20001 /dev/stdin /var/run/brig/vms/web01/vm/bhyve.conf <<.
name=web01
uuid=a86baa36-d4cb-5bd1-b42c-a14572189958
cpus=1
memory.size=64M
rtc.use_localtime=false
x86.vmexit_on_hlt=true
x86.strictmsr=false
bootrom=/vm/firmware.rom
pci.0.0.0.device=hostbridge
lpc.com1.path=stdio
pci.0.31.0.device=lpc
pci.0.3.0.device=virtio-blk
pci.0.3.0.path=/dev/zvol/tank/brig/vms/web01/disk0
pci.0.4.0.device=virtio-blk
pci.0.4.0.path=/disk/disk1.raw
pci.0.5.0.device=virtio-blk
pci.0.5.0.path=/vm/disk2.img
pci.0.5.0.ro=true
pci.0.20.0.device=virtio-net
pci.0.20.0.backend=tap7000
pci.0.20.0.mac=58:9c:fc:00:00:00
pci.0.21.0.device=virtio-net
pci.0.21.0.backend=tap7001
pci.0.21.0.mac=58:9c:fc:00:00:01
pci.0.30.0.device=virtio-rnd
.
install -m 0444 -o 0 -g 0 /var/db/brig/testrom.bin /var/run/brig/vms/web01/vm/firmware.rom
install -m 0444 -o 0 -g 0 /dev/stdin /var/run/brig/vms/web01/vm/disk2.img <<.

.
rm -rf /var/run/brig/vms/web01/con.in
rm -rf /var/run/brig/vms/web01/con.out
/usr/bin/mkfifo -m 0600 /var/run/brig/vms/web01/con.in /var/run/brig/vms/web01/con.out
# limits.add
/usr/bin/rctl -a jail:brig-web01:vmemoryuse:deny=536870912
/usr/bin/rctl -a jail:brig-web01:openfiles:deny=544
/usr/bin/rctl -a jail:brig-web01:nthr:deny=62
/usr/bin/rctl -a jail:brig-web01:maxproc:deny=8
# devfs.load
/sbin/devfs rule -s 20001 delset
/sbin/devfs rule -s 20001 add - <<.
hide
path null unhide
path zero unhide
path random unhide
path urandom unhide
path vmmctl unhide user 20001 mode 600
path vmm unhide
path vmm/web01 unhide user 20001 mode 600
path vmm.io unhide
path vmm.io/web01.bootrom unhide user 20001 mode 600
path zvol unhide
path zvol/tank unhide
path zvol/tank/brig unhide
path zvol/tank/brig/vms unhide
path zvol/tank/brig/vms/web01 unhide
path zvol/tank/brig/vms/web01/disk0 unhide user 20001 mode 600
path tap7000 unhide user 20001 mode 600
path tap7001 unhide user 20001 mode 600
.
/sbin/devfs rule -s 20001 show
# bridge.create
/sbin/ifconfig bridge7000 create description brig:net/default group brig group brigguest up
# epair.create
/sbin/ifconfig epair7000 create description brig:vm/web01 group brig group brigguest up
# epair.add
/sbin/ifconfig bridge7000 addm epair7000a private epair7000a
# tap.create
/sbin/ifconfig tap7000 create description brig:vm/web01 group brig
# bridge.create
/sbin/ifconfig bridge7000 create description brig:net/default group brig group brigguest up
# tap.create
/sbin/ifconfig tap7001 create description brig:vm/web01 group brig group brigguest
# tap.add
/sbin/ifconfig bridge7000 addm tap7001 private tap7001
# fs.mount
/sbin/mount -t tarfs /var/db/brig/base/base.tar.zst /var/run/brig/vms/web01/root
# fs.mount
/sbin/mount -t tmpfs -o size=16m,mode=1777,noexec,nosuid tmpfs /var/run/brig/vms/web01/root/tmp
# fs.mount
/sbin/mount -t nullfs -o ro,nosuid /var/run/brig/vms/web01/vm /var/run/brig/vms/web01/root/vm
# fs.mount
/sbin/mount -t nullfs -o noexec,nosuid /var/db/brig/vms/web01/disk /var/run/brig/vms/web01/root/disk
# fs.mount
/sbin/mount -t nullfs -o ro,nosuid /isos/a.iso /var/run/brig/vms/web01/root/vm/disk2.img
# dev.mount
/sbin/mount -t devfs -o ruleset=20001 devfs /var/run/brig/vms/web01/root/dev
# jail.create
/usr/sbin/jail -q -i -c name=brig-web01 path=/var/run/brig/vms/web01/root host.hostname=web01 host.hostuuid=a86baa36-d4cb-5bd1-b42c-a14572189958 vnet persist children.max=0 enforce_statfs=2 securelevel=3 devfs_ruleset=20001 allow.vmm allow.noset_hostname allow.noreserved_ports meta.brig_vm=web01
/usr/bin/cpuset -l 0-1 -j brig-web01
# vnet.join
/sbin/ifconfig epair7000b vnet brig-web01
/sbin/ifconfig tap7000 vnet brig-web01
/sbin/ifconfig -j brig-web01 bridge0 create
/sbin/ifconfig -j brig-web01 bridge0 addm epair7000b addm tap7000 up
/sbin/ifconfig -j brig-web01 epair7000b up
# vmm.create
# bhyve.start
rm -rf /var/run/brig/vms/web01/stop
/bin/sh /var/run/brig/supervise.sh bhyve web01 /var/run/brig/vms/web01 /var/run/brig/exits RUN 10 60 -u 8 -n 136 -c 0 -f 32768 -- /usr/bin/env -i PATH=/bin:/usr/bin:/usr/sbin /usr/sbin/jexec brig-web01 /usr/sbin/chroot -G 20001 -g 20001 -u 20001 / /usr/sbin/bhyve -k /vm/bhyve.conf web01 &
until /bin/ps -J brig-web01 -o pid,stat,command # prints /^ *\d+ +\S*C\S* +bhyve: web01 /, at most 60 s