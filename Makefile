# Chains the scripts. Every target is one script; what they do, and the addresses, stand in homelab.yaml.
#
#   CONFIG=path/homelab.yaml   another lab         DRY_RUN=1   show, change nothing
#   LIMIT=host,host            only these hosts    YES=1       do not ask
#   ARGS="…"                   passed on as it is

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup plan up check rehearse test bench lint typecheck schema \
	build-template provision install-k3s install-metallb setup-nfs etcd-snapshot setup-ingress \
	new-ingress backup-postgres backup-install restore-postgres kubeconfig remove-node uninstall-k3s network

CONFIG ?= homelab.yaml
SWITCH = $(if $(filter 1 yes true,$($(1))),$(2),$(if $(filter-out 0 no false,$($(1))),$(error $(1)=$($(1)): say 1 or 0)))
FLAGS = $(strip --config '$(CONFIG)' $(call SWITCH,DRY_RUN,--dry-run) $(call SWITCH,YES,--yes) $(if $(LIMIT),--limit '$(LIMIT)')) $(ARGS)
SCRIPT = node --import tsx scripts
INSTALLED = node_modules/.package-lock.json
CHAIN = build-template provision install-k3s install-metallb setup-nfs etcd-snapshot setup-ingress

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1#/p' $(firstword $(MAKEFILE_LIST)) | awk -F'#' '{ printf "  make %-18s %s\n", $$1, $$2 }'

$(INSTALLED): package-lock.json
	npm ci --no-audit --no-fund

setup: $(INSTALLED) ## install what the scripts need (npm ci)

rehearse: $(INSTALLED) ## build the whole lab on loopback, prove it, and say what was real
	$(SCRIPT)/rehearse.ts --config '$(CONFIG)' $(ARGS)

plan: $(INSTALLED) ## show what `make up` would do
	@$(MAKE) --no-print-directory up DRY_RUN=1

up: $(CHAIN) ## build the lab of homelab.yaml, or whatever is missing of it

check: $(INSTALLED) ## preflight and drift: is everything as homelab.yaml says?
	$(SCRIPT)/check.ts --config '$(CONFIG)' $(ARGS)

build-template: $(INSTALLED) ## the VM template, on every Proxmox node
	$(SCRIPT)/build-template.ts $(FLAGS)

provision: $(INSTALLED) ## the VMs, with their addresses
	$(SCRIPT)/provision.ts $(FLAGS)

install-k3s: $(INSTALLED) ## K3s on the VMs
	$(SCRIPT)/install-k3s.ts $(FLAGS)

install-metallb: $(INSTALLED) ## the load balancer
	$(SCRIPT)/install-metallb.ts $(FLAGS)

setup-nfs: $(INSTALLED) ## exports, and the StorageClass nfs-client
	$(SCRIPT)/setup-nfs.ts $(FLAGS)

etcd-snapshot: $(INSTALLED) ## snapshots of etcd to the NAS, at k3s.etcd_snapshots.schedule
	$(SCRIPT)/etcd-snapshot.ts install $(FLAGS)

setup-ingress: $(INSTALLED) ## cert-manager, issuers, the redirect
	$(SCRIPT)/setup-ingress.ts $(FLAGS)

new-ingress: $(INSTALLED) ## ARGS="NAME --host H --service S --port P": an application's ingress
	$(SCRIPT)/new-ingress.ts $(FLAGS)

backup-postgres: $(INSTALLED) ## dump every database, restore the dump to prove it
	$(SCRIPT)/backup-postgres.ts run $(FLAGS)

backup-install: $(INSTALLED) ## let it run by itself, as a CronJob in the cluster (ARGS=--cron: by this machine's cron)
	$(SCRIPT)/backup-postgres.ts install $(FLAGS)

restore-postgres: $(INSTALLED) ## ARGS="SET --server S --database D": restore beside, compare, swap
	$(SCRIPT)/restore-postgres.ts $(FLAGS)

kubeconfig: $(INSTALLED) ## the lab in your ~/.kube/config, beside what is there
	$(SCRIPT)/kubeconfig.ts $(FLAGS)

remove-node: $(INSTALLED) ## ARGS=NAME: a node out of the cluster for good, alive or dead
	$(SCRIPT)/remove-node.ts $(FLAGS)

uninstall-k3s: $(INSTALLED) ## K3s off every node, with all that the cluster holds
	$(SCRIPT)/uninstall-k3s.ts $(FLAGS)

network: $(INSTALLED) ## who has which address (ARGS="…" for the rest)
	$(SCRIPT)/network.ts list --config '$(CONFIG)' $(ARGS)

test: $(INSTALLED) ## every test
	npm test --silent

bench: $(INSTALLED) ## ratios from one run (ARGS=48: provision of that many VMs)
	npm run bench --silent -- $(ARGS)

lint: $(INSTALLED) ## biome
	npm run lint --silent

typecheck: $(INSTALLED) ## tsc, strict
	npm run typecheck --silent

schema: $(INSTALLED) ## templates/homelab.schema.json, from lib/config/schema.ts
	$(SCRIPT)/schema.ts
