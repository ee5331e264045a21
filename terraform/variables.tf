# Generated from homelab.yaml as homelab.auto.tfvars.json; could be written by hand as well.

variable "lab" {
  description = "Name of the lab; it stands in the description of every VM."
  type        = string
}

variable "endpoint" {
  description = "The Proxmox API of any node of the cluster: https://10.20.11.11:8006/"
  type        = string

  validation {
    condition     = can(regex("^https://[^/]+/?$", var.endpoint))
    error_message = "endpoint must be https://HOST:PORT/."
  }
}

variable "nodes" {
  description = "The VMs, by name."

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
    ssh_keys      = list(string)
    gpu           = optional(string) # a PCI resource mapping; null: none
    tags          = optional(list(string), [])
    description   = optional(string, "")
    on_boot       = optional(bool, true)
  }))

  validation {
    condition     = length(distinct([for n in values(var.nodes) : n.vmid])) == length(var.nodes)
    error_message = "Every VM needs a vmid of its own."
  }

  validation {
    condition     = alltrue([for n in values(var.nodes) : n.vmid >= 100 && n.vmid != n.template_vmid])
    error_message = "A vmid is at least 100 and not that of the template."
  }

  validation {
    condition     = length(distinct([for n in values(var.nodes) : n.address_cidr])) == length(var.nodes)
    error_message = "Every VM needs an address of its own."
  }

  validation {
    condition     = alltrue([for n in values(var.nodes) : can(cidrhost(n.address_cidr, 0))])
    error_message = "address_cidr must be an address with its prefix, such as 10.20.11.80/24."
  }

  validation {
    condition     = alltrue([for name in keys(var.nodes) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", name))])
    error_message = "A VM's name must be a DNS label."
  }

  validation {
    condition     = alltrue([for n in values(var.nodes) : n.vlan == null ? true : n.vlan >= 1 && n.vlan <= 4094])
    error_message = "vlan must be from 1 to 4094, or null."
  }

  validation {
    condition     = alltrue([for n in values(var.nodes) : length(n.ssh_keys) > 0])
    error_message = "Without an SSH key nobody could log in: ssh_keys must not be empty."
  }

  validation {
    condition     = alltrue(flatten([for n in values(var.nodes) : [for tag in n.tags : can(regex("^[a-z0-9_][a-z0-9_.+-]*$", tag))]]))
    error_message = "Tags are lower-case words."
  }
}
