output "nodes" {
  description = "What was provisioned, by name. `address` is what the guest agent reports."

  value = {
    for name, vm in proxmox_virtual_environment_vm.node : name => {
      vmid    = vm.vm_id
      node    = vm.node_name
      mac     = vm.network_device[0].mac_address
      address = try([for a in flatten([vm.ipv4_addresses, vm.ipv6_addresses]) : a if !can(regex("^(127\\.|::1$|fe80:)", a))][0], null)
    }
  }
}
