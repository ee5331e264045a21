# The template of the lab's VMs: Ubuntu Server, installed from its ISO without a question asked.
#
# build-template runs this. By hand, with the variables that it generated:
#   packer init packer
#   PKR_VAR_token_secret=… packer build -var-file=.state/<lab>/packer/template.pkrvars.json packer

packer {
  required_version = ">= 1.10"

  required_plugins {
    proxmox = {
      source  = "github.com/hashicorp/proxmox"
      version = ">= 1.2.2, < 2.0"
    }
  }
}

locals {
  with_password = var.password != ""
}

source "proxmox-iso" "ubuntu" {
  proxmox_url  = var.endpoint
  username     = local.with_password ? var.username : var.token_id
  password     = local.with_password ? var.password : null
  token        = local.with_password ? null : var.token_secret
  node         = var.node
  task_timeout = "15m"

  vm_id                = var.vm_id
  vm_name              = var.build_name
  template_name        = var.template_name
  template_description = var.template_description
  os                   = "l26"

  # What the VMs are, too: PCIe for passed-through devices, UEFI.
  machine    = "q35"
  bios       = "ovmf"
  qemu_agent = true
  cores      = 2
  cpu_type   = "host"
  memory     = 4096

  scsi_controller = "virtio-scsi-single"

  efi_config {
    efi_storage_pool  = var.storage
    efi_type          = "4m"
    pre_enrolled_keys = false
  }

  disks {
    type         = "scsi"
    storage_pool = var.storage
    disk_size    = "${var.disk_gib}G"
    format       = "raw"
    discard      = true
    io_thread    = true
    ssd          = true
  }

  network_adapters {
    model    = "virtio"
    bridge   = var.bridge
    vlan_tag = var.vlan
  }

  # Taken out at the end: an ISO that stays attached blocks clones to, and migrations between, nodes.
  boot_iso {
    type         = "ide"
    index        = "2"
    iso_file     = var.iso_file
    iso_checksum = var.iso_checksum
    unmount      = true
  }

  # A CD instead of an HTTP server: no route from the VM's network to this machine is needed.
  additional_iso_files {
    type             = "ide"
    index            = "0"
    iso_storage_pool = var.iso_storage
    cd_label         = "cidata"
    cd_content = {
      "meta-data" = ""
      "user-data" = file(var.user_data_file)
    }
    unmount = true
  }

  # Terraform's provider makes and owns the cloud-init drive of each VM.
  cloud_init = false

  # What stands after "---" stays in the installed system: network cards keep the names eth0, eth1, … also
  # when a GPU is passed through and the PCI addresses move.
  boot_wait         = var.boot_wait
  boot_key_interval = var.boot_key_interval
  boot_command = [
    "c<wait1s>",
    "linux /casper/vmlinuz autoinstall --- net.ifnames=0 biosdevname=0<enter><wait${var.boot_pause}>",
    "initrd /casper/initrd<enter><wait${var.boot_pause}>",
    "boot<enter>",
  ]

  ssh_username           = var.ssh_user
  ssh_private_key_file   = var.ssh_private_key_file
  ssh_host               = var.ssh_host == "" ? null : var.ssh_host
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
    script          = "${path.root}/clean.sh"
    execute_command = "chmod +x {{ .Path }}; {{ .Vars }} sudo -n sh {{ .Path }}"
  }
}
