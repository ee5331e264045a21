terraform {
  required_version = ">= 1.9"

  required_providers {
    proxmox = {
      source  = "bpg/proxmox"
      version = "0.111.1"
    }
  }
}

# The token comes by PROXMOX_VE_API_TOKEN (USER@REALM!TOKEN=SECRET), the cluster's CA by SSL_CERT_FILE.
provider "proxmox" {
  endpoint = var.endpoint
  insecure = false
}
