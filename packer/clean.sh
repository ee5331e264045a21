#!/bin/sh
# Leaves nothing in the template that a clone should have of its own, and nothing that stands in the way of the
# addresses that cloud-init gives to a clone. Puts what grows its root file system where every boot runs it.
set -eu

# 2: done, with warnings that do not matter here.
cloud-init status --wait >/dev/null || [ $? -eq 2 ]

# The installer pins its own network and its own answers; with them a clone ignores the address that it is given.
rm -f /etc/cloud/cloud.cfg.d/99-installer.cfg \
  /etc/cloud/cloud.cfg.d/90-installer-network.cfg \
  /etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg \
  /etc/cloud/ds-identify.cfg \
  /etc/netplan/00-installer-config.yaml \
  /etc/netplan/50-cloud-init.yaml

# cloud-init grows partitions, but no volumes of LVM: this does both, before K3s looks at the disk.
install -m 0755 /tmp/grow-root.sh /usr/local/sbin/grow-root
rm -f /tmp/grow-root.sh
cat >/etc/systemd/system/grow-root.service <<'END'
[Unit]
Description=Grow the root file system to the end of its disk
After=local-fs.target
Before=k3s.service k3s-agent.service

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/grow-root
RemainAfterExit=yes

[Install]
WantedBy=multi-user.target
END
systemctl enable grow-root.service

mkdir -p /etc/cloud/cloud.cfg.d
printf 'growpart: { mode: "off" }\nresize_rootfs: false\n' >/etc/cloud/cloud.cfg.d/90-growth.cfg

# Where a clone finds its data: on Proxmox's drive, and nowhere else.
printf 'datasource_list: [NoCloud, ConfigDrive]\n' >/etc/cloud/cloud.cfg.d/90-datasource.cfg

# A kernel argument that the installer may have kept names the installer's own data.
if grep -qs 'ds=nocloud' /etc/default/grub; then
  sed -i 's/ds=nocloud[^" ]*//g' /etc/default/grub
  update-grub
fi

# Every clone makes host keys of its own, and takes its machine-id (and with it its DHCP identity) at first boot.
rm -f /etc/ssh/ssh_host_*
truncate -s 0 /etc/machine-id
mkdir -p /var/lib/dbus
ln -sf /etc/machine-id /var/lib/dbus/machine-id

cloud-init clean --logs --seed
apt-get clean
rm -rf /var/log/installer /root/.bash_history
sync
