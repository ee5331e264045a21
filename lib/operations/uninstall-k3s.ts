import { z } from 'zod';
import type { Operation } from '../apply.ts';

const forgetArgs = z.object({ files: z.array(z.string()) });

/** What uninstall-k3s does that is neither a command nor a file. */
export const uninstallOperations = (): Record<string, Operation> => ({
  'forget-cluster': async (args, { ports }) => {
    for (const file of forgetArgs.parse(args).files) await ports.files.remove(file);
    return undefined;
  },
});
