import { createHash } from 'node:crypto';
import { build, type Plugin } from 'esbuild';
import { TOOLKIT } from '../paths.ts';

/** The engine as one file for plain Node 20: what a pod runs, where there is no node_modules. */
export type Bundle = { text: string; sha256: string };

/** What a ConfigMap may hold, all its values together. */
const CONFIG_MAP_BYTES = 1024 * 1024;
const ROOM_FOR_CONFIG = 64 * 1024;

const ENTRY = `import { main } from './lib/backup/in-cluster.ts';
void main(process.argv.slice(2)).then((code) => process.exit(code));`;

let made: Promise<Bundle> | undefined;

/** The same bytes for the same sources, wherever the toolkit lies. Made once a run. */
export function bundleEngine(): Promise<Bundle> {
  made ??= bundle();
  return made;
}

async function bundle(): Promise<Bundle> {
  const { outputFiles } = await build({
    stdin: { contents: ENTRY, resolveDir: TOOLKIT, sourcefile: 'entry.js' },
    absWorkingDir: TOOLKIT,
    bundle: true,
    write: false,
    minify: true,
    platform: 'node',
    target: 'node20',
    // PostgreSQL's client requires Node's modules while it runs: in an ES module that is no longer possible.
    format: 'cjs',
    // YAML, as which the API server reads what is applied, knows no control characters.
    charset: 'ascii',
    legalComments: 'eof',
    logLevel: 'silent',
    plugins: [LEFT_OUT],
  });
  const text = outputFiles[0]?.text ?? '';
  const bytes = Buffer.byteLength(text);
  if (bytes === 0 || bytes > CONFIG_MAP_BYTES - ROOM_FOR_CONFIG)
    throw new Error(`the engine's bundle has ${bytes} bytes: that is nothing for a ConfigMap`);
  return { text, sha256: createHash('sha256').update(text).digest('hex') };
}

/** A third of the bundle would be error messages in fifty languages, and YAML, which no pod reads. */
const LEFT_OUT: Plugin = {
  name: 'left out of the bundle',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^yaml$/ }, () => ({ path: 'yaml', namespace: 'left-out' }));
    onResolve({ filter: /locales\/index\.js$/ }, () => ({ path: 'locales', namespace: 'left-out' }));
    onLoad({ filter: /.*/, namespace: 'left-out' }, ({ path }) => ({
      contents: path === 'yaml' ? 'export const stringify = undefined;' : 'export {};',
      resolveDir: TOOLKIT,
    }));
  },
};
