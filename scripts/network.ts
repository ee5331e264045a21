import type { Lab } from '../lib/lab-context.ts';
import { command, defineScript } from '../lib/main.ts';
import { type NetworkSeen, planAllocate, planDoc, planList, planRelease, recorded } from '../lib/plan/network.ts';
import type { FilesReader } from '../lib/ports/types.ts';
import { listText, networkList } from '../lib/render/network-list.ts';
import { verifyNetwork } from '../lib/verify/network.ts';

async function observe({ paths }: Lab, { files }: { files: FilesReader }): Promise<NetworkSeen> {
  const [lock, doc] = await Promise.all([files.text(paths.lock), files.text(paths.networkDoc)]);
  return { lock, doc };
}

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
      observe,
      plan: planList,
      report: (lab) => {
        const list = networkList(lab.config, recorded(lab), lab.leaseProblems ?? []);
        return { text: listText(list), data: list };
      },
    }),
    command({
      name: 'allocate',
      summary: 'Gives an address to each K3s node that has none (or to NAME only), and keeps it in homelab.lock.yaml',
      arguments: [{ name: '[name]', description: 'a K3s node of homelab.yaml' }],
      mendsLeases: true,
      observe,
      plan: (lab, seen, args: { name?: string }) => planAllocate(lab, seen, args.name),
      verify: verifyNetwork,
    }),
    command({
      name: 'release',
      summary: 'Takes the address of NAME back, so that another node may get it',
      arguments: [{ name: '<name>', description: 'a lease of homelab.lock.yaml' }],
      options: [{ flags: '--force', description: 'although a K3s node of homelab.yaml uses it', default: false }],
      mendsLeases: true,
      observe,
      plan: (lab, seen, args: { name: string; force: boolean }) => planRelease(lab, seen, args.name, args.force),
    }),
    command({
      name: 'doc',
      summary: 'Writes docs/NETWORK.md from homelab.yaml and homelab.lock.yaml; --check exits with 3 when it is stale',
      mendsLeases: true,
      observe,
      plan: planDoc,
    }),
  ],
});
