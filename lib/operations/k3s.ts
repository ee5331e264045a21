import { createHash } from 'node:crypto';
import { z } from 'zod';
import { keepSecret, type Operation } from '../apply.ts';
import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import { kubeconfigFile } from '../plan/k3s.ts';
import type { Ports } from '../ports/types.ts';
import { CONFIG_FILE, TOKEN } from '../render/k3s-config.ts';
import { renderKubeconfig } from '../render/kubeconfig.ts';
import { nodeReady } from './k3s-ready.ts';

const kubeconfigArgs = z.object({ server: z.string(), address: z.string() });

/** What install-k3s does that is neither a command nor a file. */
export function k3sOperations(lab: Lab): Record<string, Operation> {
  return {
    'node-ready': nodeReady(servers(lab.config).length),
    'adopt-token': async ({ server }, context) => {
      const config = await rootFile(String(server), CONFIG_FILE, context.ports);
      const token = /^token: *"?([^"\n]+?)"? *$/m.exec(config)?.[1];
      if (!token) throw new HomelabError(`${CONFIG_FILE} on ${server} has no token`);
      await keepSecret(TOKEN, token, context);
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
