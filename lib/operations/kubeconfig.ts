import { z } from 'zod';
import type { Operation } from '../apply.ts';
import { HomelabError } from '../errors.ts';
import { mergeKubeconfig, ownKubeconfig } from '../render/kubeconfig-merge.ts';

const mergeArgs = z.object({
  ...{ from: z.string(), file: z.string(), real: z.string() },
  ...{ use: z.boolean(), force: z.boolean() },
});

/** What kubeconfig does that must not stand in a plan. */
export const kubeconfigOperations = (): Record<string, Operation> => ({
  'merge-kubeconfig': async (args, { ports: { files } }) => {
    const { from, file, real, use, force } = mergeArgs.parse(args);
    const own = await files.text(from);
    if (own === undefined) throw new HomelabError(`${from} is not there`, { fix: 'run install-k3s' });
    const merged = mergeKubeconfig(await files.text(real), ownKubeconfig(own, from), { file, use, force });
    await files.write(real, merged, 0o600);
    return undefined;
  },
});
