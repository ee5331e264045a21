output "nodes" {
  description = "What was provisioned, by name. `address` is what the guest agent reports."

  value = {
    for name, vm in proxmox_virtual_environment_vm.node : name => {
      vmid    = vm.vm_id
      node    = vm.node_name
      mac     = vm.network_device[0].mac_address
      address = try([for a in flatten(vm.ipv4_addresses) : a if a != "127.0.0.1"][0], null)
    }
  }
}
