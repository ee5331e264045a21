import type { Guest } from '../types.ts';
import { died } from './errors.ts';
import { type Call, type Need, type Route, vmNeeds } from './router.ts';
import type { Vm } from './types.ts';
import { vmOf } from './vm-config.ts';
import { macsOf } from './vm-power.ts';

const HOST_KEY = '/etc/ssh/ssh_host_ed25519_key.pub';

export const agentRoutes: Route[] = [
  agent('GET', 'network-get-interfaces', ({ vm, guest }) => interfaces(vm, guest)),
  agent('GET', 'get-host-name', ({ vm }) => ({ 'host-name': String(vm.config.name ?? '') })),
  agent('GET', 'info', () => ({ version: '8.2.2', supported_commands: [] })),
  agent('GET', 'get-osinfo', () => ({ id: 'ubuntu', 'version-id': '24.04', 'pretty-name': 'Ubuntu 24.04 LTS' })),
  agent('POST', 'ping', () => ({})),
  {
    method: 'GET',
    path: '/nodes/{node}/qemu/{vmid}/agent/file-read',
    needs: agentNeeds('VM.GuestAgent.FileRead'),
    spec: { file: 'string!', count: 'integer', decode: 'boolean', offset: 'integer' },
    handle: async (call) => {
      const { guest } = guestOf(call);
      const file = call.params.need('file');
      const content = (await guest.readFile(file)) ?? (file === HOST_KEY ? `${guest.hostKey}\n` : undefined);
      if (content === undefined)
        throw died(`Agent error: failed to open file '${file}' (mode: 'r'): No such file or directory`);
      return { content };
    },
  },
];

function agent(method: 'GET' | 'POST', command: string, answer: (found: { vm: Vm; guest: Guest }) => unknown): Route {
  return {
    method,
    path: `/nodes/{node}/qemu/{vmid}/agent/${command}`,
    needs: agentNeeds('VM.GuestAgent.Audit'),
    handle: (call) => ({ result: answer(guestOf(call)) }),
  };
}

function agentNeeds(privilege: string): Need[] {
  return vmNeeds(privilege, 'VM.GuestAgent.Unrestricted').map((need) => ({ ...need, any: true }));
}

/** The guest whose agent answers. @throws PveError in the words for each reason why none does */
function guestOf(call: Call): { vm: Vm; guest: Guest } {
  const vm = vmOf(call);
  if (!/^(1|enabled=1)\b/.test(String(vm.config.agent ?? ''))) throw died('No QEMU guest agent configured');
  if (!vm.running) throw died(`VM ${vm.vmid} is not running`);
  const { guest } = vm.running;
  if (!guest || call.cluster.faults.isMute(vm.vmid)) throw died('QEMU guest agent is not running');
  return { vm, guest };
}

/** With all statistics and a numeric prefix: Packer's plugin needs both. */
function interfaces(vm: Vm, guest: Guest): unknown {
  const statistics = Object.fromEntries(
    ['rx', 'tx'].flatMap((way) => ['bytes', 'dropped', 'errs', 'packets'].map((what) => [`${way}-${what}`, 0])),
  );
  const entry = (name: string, mac: string, address: string, prefix: number) => ({
    name,
    'hardware-address': mac.toLowerCase(),
    'ip-addresses': [{ 'ip-address': address, 'ip-address-type': address.includes(':') ? 'ipv6' : 'ipv4', prefix }],
    statistics,
  });
  return [
    entry('lo', '00:00:00:00:00:00', '127.0.0.1', 8),
    ...macsOf(vm.config)
      .slice(0, 1)
      .map((mac) => entry('eth0', mac, guest.address, 24)),
  ];
}
