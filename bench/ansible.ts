import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { K3sNode } from '../lib/config/schema.ts';
import { addressOf } from '../lib/lookup.ts';
import type { NamespaceLab } from '../test/namespaces/lab.ts';

/** The same hosts through ansible-playbook: connections kept, no facts, a fork a host; with its default transfer of modules, or pipelining. */
export class Ansible {
  readonly #folder: string;
  readonly #lab: NamespaceLab;
  readonly #texts = new Map<string, string>();

  constructor(lab: NamespaceLab) {
    this.#lab = lab;
    this.#folder = join(lab.folder, '..', 'ansible');
    mkdirSync(join(this.#folder, 'files'), { recursive: true });
    const { config, paths } = lab.lab;
    const group = (role: K3sNode['role'], unit: string): object => ({
      vars: { unit },
      hosts: Object.fromEntries(
        config.k3s.nodes
          .filter((node) => node.role === role)
          .map(({ name }) => [name, { ansible_host: addressOf(lab.lab, name) }]),
      ),
    });
    const groups = { servers: group('server', 'k3s'), agents: group('agent', 'k3s-agent') };
    const vars = {
      ansible_user: config.template.user,
      ansible_ssh_private_key_file: join(lab.folder, 'id_ed25519'),
      ansible_ssh_common_args: `-o IdentitiesOnly=yes -o UserKnownHostsFile=${join(paths.state, 'known_hosts')}`,
      ansible_python_interpreter: '/usr/bin/python3',
    };
    this.#write('inventory.yaml', stringify({ all: { children: groups, vars } }));
    this.#write('ansible.cfg', '[defaults]\nforks = 10\ngathering = explicit\nretry_files_enabled = False\n');
    this.#write('site.yaml', stringify([play('all')]));
    this.#write('one-by-one.yaml', stringify([{ ...play('servers'), serial: 1 }, play('agents')]));
    this.#write('files/k3s-install.sh', '#!/bin/sh\nexit 0\n');
    for (const { name } of config.k3s.nodes) {
      const text = lab.host(name).readFile('/etc/rancher/k3s/config.yaml') ?? '';
      this.#texts.set(name, text);
      this.#write(`files/${name}.yaml`, text);
    }
  }

  change(line: string): void {
    for (const [name, text] of this.#texts) this.#write(`files/${name}.yaml`, line + text);
  }

  restore(): void {
    for (const [name, text] of this.#texts) this.#write(`files/${name}.yaml`, text);
  }

  /**
   * A playbook over all hosts at once; or, where servers restart, over these one by one: both at once stop the cluster.
   * @returns milliseconds
   */
  async play(playbook: 'site.yaml' | 'one-by-one.yaml' = 'site.yaml', pipelining = true): Promise<number> {
    const began = performance.now();
    const env = {
      PATH: process.env.PATH,
      HOME: this.#folder,
      ANSIBLE_CONFIG: join(this.#folder, 'ansible.cfg'),
      LC_ALL: 'C.UTF-8',
      ANSIBLE_PIPELINING: String(pipelining),
    };
    await new Promise<void>((resolve, reject) =>
      execFile(
        'ansible-playbook',
        ['-i', 'inventory.yaml', playbook],
        { cwd: this.#folder, env },
        (error, stdout, stderr) => (error ? reject(new Error(`${stdout}\n${stderr}`)) : resolve()),
      ),
    );
    return performance.now() - began;
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.#folder, name), text);
  }
}

/** What install-k3s does to nodes that have K3s already, as tasks. */
function play(hosts: string): object {
  const tasks = [
    {
      name: 'configuration',
      copy: { src: 'files/{{ inventory_hostname }}.yaml', dest: '/etc/rancher/k3s/config.yaml', mode: '0600' },
      register: 'configured',
    },
    {
      name: 'script',
      copy: { src: 'files/k3s-install.sh', dest: '/var/lib/homelab/ansible-install.sh', mode: '0700' },
    },
    {
      name: 'install',
      command: { cmd: 'sh /var/lib/homelab/ansible-install.sh', creates: '/usr/local/bin/k3s' },
    },
    { name: 'package', apt: { name: 'openssh-server', state: 'present' } },
    { name: 'restart', command: 'systemctl restart {{ unit }}', when: 'configured.changed' },
    { name: 'service', command: 'systemctl enable {{ unit }}', changed_when: false },
    { name: 'port', wait_for: { host: '{{ ansible_host }}', port: 10250, timeout: 60 } },
    {
      ...{ name: 'active', command: 'systemctl is-active {{ unit }}', changed_when: false },
      ...{ register: 'state', until: "state.stdout == 'active'", retries: 30, delay: 1 },
    },
  ];
  return { hosts, become: true, gather_facts: false, tasks };
}
