# packer/ubuntu.pkr.hcl for Debian's Packer 1.6.6, in which the Proxmox builder is built in. It is an independent
# client of the rehearsal's Proxmox API, and nothing to build a real template with: it knows neither tokens nor UEFI
# nor CDs made from text.

source "proxmox-iso" "ubuntu" {
  proxmox_url = var.endpoint
  username    = var.username
  password    = var.password
  node        = var.node

  vm_id                = var.vm_id
  vm_name              = var.build_name
  template_name        = var.template_name
  template_description = var.template_description
  os                   = "l26"

  qemu_agent      = true
  cores           = 2
  cpu_type        = "host"
  memory          = 4096
  scsi_controller = "virtio-scsi-single"

  disks {
    type              = "scsi"
    storage_pool      = var.storage
    storage_pool_type = var.storage_type
    disk_size         = "${var.disk_gib}G"
    format            = "raw"
  }

  network_adapters {
    model    = "virtio"
    bridge   = var.bridge
    vlan_tag = var.vlan
  }

  iso_file    = var.iso_file
  unmount_iso = true

  boot_wait         = "1ms"
  boot_key_interval = "1ms"
  boot_command      = ["c", "boot<enter>"]

  ssh_username           = var.ssh_user
  ssh_private_key_file   = var.ssh_private_key_file
  ssh_host               = var.ssh_host
  ssh_port               = var.ssh_port
  ssh_timeout            = var.ssh_timeout
  ssh_handshake_attempts = 100
}

build {
  sources = ["source.proxmox-iso.ubuntu"]

  provisioner "file" {
    source      = var.grow_root_file
    destination = "/tmp/grow-root.sh"
  }

  provisioner "shell" {
    script          = "${path.root}/../../../packer/clean.sh"
    execute_command = "chmod +x {{ .Path }}; {{ .Vars }} sudo -n sh {{ .Path }}"
  }
}
