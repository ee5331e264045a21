import type { Lab } from '../lib/lab-context.ts';
import { lazily } from '../lib/lazy.ts';
import { command, defineScript } from '../lib/main.ts';
import type { NetworkSeen } from '../lib/plan/network.ts';
import type { Readers } from '../lib/ports/types.ts';

/** All four look at the same two files. */
const observe = async () => observeFiles;
const planner = () => import('../lib/plan/network.ts');

export default defineScript(import.meta.url, {
  name: 'network',
  summary: 'Addresses: who holds which, and why',
  description:
    'It reads homelab.yaml and homelab.lock.yaml only. Whether a new address is really free is asked of the network\n' +
    'by provision, before it uses one.',
  commands: [
    command({
      name: 'list',
      summary: 'Lists every address of the lab; a lease whose node is gone is marked unused',
      lock: 'none',
      mendsLeases: true,
      ...lazily({ observe: async () => observeList, plan: async () => (await planner()).planList }),
      report: (_lab, { text, data }) => ({ text, data }),
    }),
    command({
      name: 'allocate',
      summary: 'Gives an address to each K3s node that has none (or to NAME only), and keeps it in homelab.lock.yaml',
      arguments: [{ name: '[name]', description: 'a K3s node of homelab.yaml' }],
      mendsLeases: true,
      ...lazily<NetworkSeen, { name?: string }>({
        observe,
        plan: async () => {
          const { planAllocate } = await planner();
          return (lab, seen, { name }) => planAllocate(lab, seen, name);
        },
        verify: async () => (await import('../lib/verify/network.ts')).verifyNetwork,
      }),
    }),
    command({
      name: 'release',
      summary: 'Takes the address of NAME back, so that another node may get it',
      arguments: [{ name: '<name>', description: 'a lease of homelab.lock.yaml' }],
      options: [{ flags: '--force', description: 'although a K3s node of homelab.yaml uses it', default: false }],
      mendsLeases: true,
      ...lazily<NetworkSeen, { name: string; force: boolean }>({
        observe,
        plan: async () => {
          const { planRelease } = await planner();
          return (lab, seen, { name, force }) => planRelease(lab, seen, name, force);
        },
      }),
    }),
    command({
      name: 'doc',
      summary: 'Writes docs/NETWORK.md from homelab.yaml and homelab.lock.yaml; --check exits with 3 when it is stale',
      mendsLeases: true,
      ...lazily({ observe, plan: async () => (await planner()).planDoc }),
    }),
  ],
});

async function observeFiles({ paths }: Lab, { files }: Pick<Readers, 'files'>): Promise<NetworkSeen> {
  const [lock, doc] = await Promise.all([files.text(paths.lock), files.text(paths.networkDoc)]);
  return { lock, doc };
}

/** What is listed is known already; nothing is looked at. */
async function observeList(lab: Lab) {
  const { recorded } = await planner();
  const { networkList, listText } = await import('../lib/render/network-list.ts');
  const data = networkList(lab.config, recorded(lab), lab.leaseProblems ?? []);
  return { data, text: listText(data) };
}
