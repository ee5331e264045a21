# What build-template gives to Packer, in .state/<lab>/packer/template.pkrvars.json. Secrets come through the
# environment only: PKR_VAR_token_secret, or PKR_VAR_username and PKR_VAR_password.

variable "endpoint" {
  type        = string
  description = "The Proxmox API: https://HOST:PORT/api2/json."
}

variable "node" {
  type        = string
  description = "The Proxmox node on which the template is built."
}

variable "token_id" {
  type        = string
  description = "USER@REALM!TOKEN."
}

variable "token_secret" {
  type        = string
  sensitive   = true
  default     = ""
  description = "The token's secret, a UUID."
}

variable "username" {
  type        = string
  default     = ""
  description = "USER@REALM, where a password is used instead of a token."
}

variable "password" {
  type        = string
  sensitive   = true
  default     = ""
  description = "The user's password; when it is set, it is used instead of the token."
}

variable "vm_id" {
  type        = number
  description = "VMID of the VM that becomes the template."
}

variable "build_name" {
  type        = string
  description = "Name of the VM while it is built; the lab's name is in it."
}

variable "template_name" {
  type        = string
  description = "Name of the template."
}

variable "template_description" {
  type        = string
  description = "The template's notes: they hold the hash of what went into it."
}

variable "iso_file" {
  type        = string
  description = "The installer: STORAGE:iso/FILE, which is there already."
}

variable "iso_checksum" {
  type        = string
  description = "sha256:HEX of the installer."
}

variable "iso_storage" {
  type        = string
  description = "The storage that takes the generated CD with the answers of the installation."
}

variable "storage" {
  type        = string
  description = "The storage of the template's disks."
}

variable "storage_type" {
  type        = string
  description = "Proxmox's type of that storage: zfspool, lvmthin, dir, nfs, …"
}

variable "bridge" {
  type        = string
  description = "The bridge of the network card."
}

variable "vlan" {
  type        = string
  default     = ""
  description = "Its VLAN tag; empty: untagged."
}

variable "disk_gib" {
  type        = number
  description = "Size of the disk, in GiB."
}

variable "ssh_user" {
  type        = string
  description = "The administrator that the installer makes."
}

variable "ssh_private_key_file" {
  type        = string
  description = "The private key whose public half is in user_data_file."
}

variable "ssh_host" {
  type        = string
  default     = ""
  description = "Where the VM is reached; empty: what its guest agent reports."
}

variable "ssh_port" {
  type        = number
  default     = 22
  description = "The port at which the VM is reached."
}

variable "user_data_file" {
  type        = string
  description = "The answers of the installation (autoinstall), rendered."
}

variable "grow_root_file" {
  type        = string
  description = "templates/grow-root.sh, which goes into the template."
}

variable "boot_wait" {
  type        = string
  default     = "8s"
  description = "From the start until the installer's boot menu is there; it goes on by itself after 30 s."
}

variable "boot_pause" {
  type        = string
  default     = "5s"
  description = "Until GRUB has loaded the kernel, and then its initial RAM disk: keys that come earlier may get lost."
}

variable "boot_key_interval" {
  type        = string
  default     = "75ms"
  description = "Between two keys: the console loses some that come faster."
}

variable "ssh_timeout" {
  type        = string
  default     = "45m"
  description = "Until the installed system answers by SSH."
}
