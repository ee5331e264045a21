# Generated from homelab.yaml as homelab.auto.tfvars.json; could be written by hand as well. What homelab.yaml's own
# rules refuse is refused here too, before Proxmox is asked anything: each message names the VM and its value.

variable "lab" {
  description = "Name of the lab; it stands in the description of every VM."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.lab))
    error_message = "lab \"${var.lab}\" is not a name: use lower-case letters, digits and \"-\" (at most 63)."
  }
}

variable "endpoint" {
  description = "The Proxmox API of any node of the cluster: https://10.20.11.11:8006/"
  type        = string
  nullable    = false

  # Without a port the provider would dial 443, and a path would be put before /api2/json.
  validation {
    condition     = can(regex("^https://([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:.]+\\]):[1-9][0-9]{0,4}/?$", var.endpoint))
    error_message = "endpoint \"${var.endpoint}\" is not https://HOST:PORT/; write one such as https://10.20.11.11:8006/, with its port and without a path."
  }
}

variable "template_disk_gib" {
  description = "Size of the template's disk: a clone's disk can grow from there, and never shrink."
  type        = number
  default     = 8
  nullable    = false

  validation {
    condition     = var.template_disk_gib >= 8 && var.template_disk_gib <= 2048
    error_message = "template_disk_gib is ${var.template_disk_gib}; it is from 8 to 2048."
  }
}

variable "reserved" {
  description = "Who else has addresses, by name: an address, or FIRST-LAST (of IPv4). No VM may have one of them."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "nodes" {
  description = "The VMs, by name."
  nullable    = false

  type = map(object({
    vmid          = number
    node          = string           # the Proxmox node it lives on
    template_vmid = number           # the template that it is cloned from
    template_node = optional(string) # where that is, when its disk is on shared storage; null: on the same node
    cores         = number
    memory_mib    = number
    disk_gib      = number # at least the template's
    storage       = string # of the disk and of the cloud-init drive
    address_cidr  = string # 10.20.11.80/24
    gateway       = string
    dns           = list(string)
    search_domain = string
    bridge        = string
    vlan          = optional(number) # null: untagged
    user          = string
    ssh_keys      = list(string)     # public keys
    gpu           = optional(string) # a PCI resource mapping; null: none
    tags          = optional(list(string), [])
    description   = optional(string, "")
    on_boot       = optional(bool, true)
  }))

  validation {
    condition     = length(var.nodes) > 0
    error_message = "nodes is empty, and every VM would be destroyed; when that is wanted, leave it as it is and run terraform destroy."
  }

  # Templates, because they are functions: a rule stands there once, and says of each VM what is wrong with which value.
  validation {
    condition     = templatefile("${path.module}/rules-vm.tftpl", { nodes = var.nodes, template_disk_gib = var.template_disk_gib }) == ""
    error_message = templatefile("${path.module}/rules-vm.tftpl", { nodes = var.nodes, template_disk_gib = var.template_disk_gib })
  }

  # What VMs are to each other, and to everything else of the lab.
  validation {
    condition     = templatefile("${path.module}/rules-lab.tftpl", { nodes = var.nodes, reserved = var.reserved }) == ""
    error_message = templatefile("${path.module}/rules-lab.tftpl", { nodes = var.nodes, reserved = var.reserved })
  }
}
