resource "proxmox_virtual_environment_vm" "node" {
  for_each = var.nodes

  name        = each.key
  description = each.value.description != "" ? each.value.description : "${each.key} of ${var.lab}"
  tags        = sort(each.value.tags)
  node_name   = each.value.node
  vm_id       = each.value.vmid
  on_boot     = each.value.on_boot
  started     = true

  # The template's own machine and firmware, said again so that a drift shows. Its EFI disk comes along.
  machine       = "q35"
  bios          = "ovmf"
  scsi_hardware = "virtio-scsi-single"

  # A GPU's driver lets go of the card slowly.
  timeout_stop_vm     = each.value.gpu == null ? 300 : 600
  timeout_shutdown_vm = each.value.gpu == null ? 300 : 600

  # A disk that no configuration names, and that has the VM's number, may be anybody's: of another cluster on the same
  # NAS, or put aside by hand. With the VM go its own disks.
  delete_unreferenced_disks_on_destroy = false

  clone {
    vm_id     = each.value.template_vmid
    node_name = each.value.template_node
    full      = true
    # One: with more, the provider takes "already exists" for success and reconfigures a stranger's VM.
    retries = 1
  }

  # A wait for an agent that never answers would hold up plan as well as apply.
  agent {
    enabled = true
    timeout = "5m"
  }

  cpu {
    cores = each.value.cores
    type  = "host"
  }

  memory {
    dedicated = each.value.memory_mib
  }

  operating_system {
    type = "l26"
  }

  # Every option is said: what a clone inherits would otherwise come back as drift.
  disk {
    interface    = "scsi0"
    datastore_id = each.value.storage
    size         = each.value.disk_gib
    aio          = "io_uring"
    backup       = true
    cache        = "none"
    discard      = "on"
    iothread     = true
    replicate    = true
    ssd          = true
  }

  network_device {
    model    = "virtio"
    bridge   = each.value.bridge
    vlan_id  = each.value.vlan
    firewall = false
  }

  initialization {
    datastore_id = each.value.storage
    interface    = "ide2"

    ip_config {
      dynamic "ipv4" {
        for_each = strcontains(each.value.address_cidr, ":") ? [] : [each.value]

        content {
          address = ipv4.value.address_cidr
          gateway = ipv4.value.gateway
        }
      }

      dynamic "ipv6" {
        for_each = strcontains(each.value.address_cidr, ":") ? [each.value] : []

        content {
          address = ipv6.value.address_cidr
          gateway = ipv6.value.gateway
        }
      }
    }

    dns {
      servers = each.value.dns
      domain  = each.value.search_domain
    }

    user_account {
      username = each.value.user
      keys     = each.value.ssh_keys
    }
  }

  # By resource mapping: a raw PCI id would need root's password instead of a token.
  dynamic "hostpci" {
    for_each = each.value.gpu == null ? [] : [each.value.gpu]

    content {
      device  = "hostpci0"
      mapping = hostpci.value
      pcie    = true
      rombar  = true
      xvga    = false
    }
  }

  # An imported VM has no clone block, and shows the EFI disk that every clone brings along: without these it would be
  # replaced, or planned for ever. How long Terraform waits for the agent is nothing of the VM's, and yet the provider
  # restarts a VM for which it changes. Nothing wider: drift must show.
  lifecycle {
    ignore_changes = [clone, efi_disk, agent[0].timeout]
  }
}
