import { createHash } from 'node:crypto';
import { z } from 'zod';
import { keepSecret, type Operation } from '../apply.ts';
import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { kubeconfigFile } from '../plan/k3s.ts';
import type { Ports } from '../ports/types.ts';
import { TOKEN } from '../render/k3s-config.ts';
import { renderKubeconfig } from '../render/kubeconfig.ts';
import { uncordonNode } from './k3s-cordon.ts';
import { drain } from './k3s-drain.ts';
import { nodeReady } from './k3s-ready.ts';
import { stopForReset } from './k3s-reset.ts';
import { forgetNode, stopServer } from './k3s-spare.ts';

const kubeconfigArgs = z.object({ server: z.string(), address: z.string() });
const pinArgs = z.object({ hashes: z.record(z.string(), z.string()) });
const SERVER_TOKEN = '/var/lib/rancher/k3s/server/token';

/** What install-k3s does that is neither a command nor a file. */
export function k3sOperations(lab: Lab): Record<string, Operation> {
  return {
    'node-ready': nodeReady(lab),
    'stop-server': stopServer(lab),
    'stop-for-reset': stopForReset(lab),
    'forget-node': forgetNode(),
    drain: drain(lab),
    uncordon: uncordonNode(),
    'adopt-token': async ({ server }, context) => {
      // The secure form; other nodes may join with it as well, but it is the short one that a server begins with.
      const token = (await rootFile(String(server), SERVER_TOKEN, context.ports))
        .trim()
        .replace(/^K10\w*::server:/, '');
      if (!token) throw new HomelabError(`${SERVER_TOKEN} on ${server} is empty`);
      await keepSecret(TOKEN, token, context);
      return undefined;
    },
    'pin-files': async (args, { lock }) => {
      for (const [key, sha256] of Object.entries(pinArgs.parse(args).hashes)) await lock.record(key, sha256);
      return undefined;
    },
    'fetch-kubeconfig': async (args, { ports }) => {
      const { server, address } = kubeconfigArgs.parse(args);
      const text = await rootFile(server, '/etc/rancher/k3s/k3s.yaml', ports);
      const sha256 = createHash('sha256').update(text).digest('hex');
      const kubeconfig = renderKubeconfig(text, { server, sha256, address, lab: lab.config.name });
      await ports.files.write(kubeconfigFile(lab), kubeconfig, 0o600);
      return undefined;
    },
  };
}

async function rootFile(host: string, path: string, ports: Ports): Promise<string> {
  const answer = await ports.ssh.readFile(host, path, { sudo: true });
  if (!answer.ok) throw new HomelabError(`${path} on ${host}: ${answer.reason}`);
  if (answer.value === undefined) throw new HomelabError(`${path} is not on ${host}`);
  return answer.value;
}
