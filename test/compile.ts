import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { TOOLKIT } from '../lib/paths.ts';
import { compiledFile } from './node-argv.ts';

/**
 * Compiles test files, and what they start, once for a whole run of the tests: with tsx every process compiles and looks up
 * a hundred modules for itself, which is most of the time of a script that has little to do. It is the same esbuild, and what
 * tests of the start itself start (`make`, main, interrupt, canary) is started with tsx as ever.
 */

/** What has to be the one copy that is installed: it has parts that are no JavaScript, or is loaded by its name. */
const LEFT_OUT = ['esbuild', 'ssh2', 'tsx', 'kubernetes-models', 'fast-check', 'ajv', 'ajv-formats'];
/** Loaded by --import before the file that is started. */
const PRELOADS = ['test/fast-clock.ts', ...inFolder('test/fixtures', /^(defect|hidden-postgres|later)\.ts$/)];
const STARTED = [
  ...inFolder('scripts', /\.ts$/),
  ...inFolder('test', /-child\.ts$/),
  ...inFolder('lib/lab/tools', /^(packer|terraform)\.ts$/),
];
/** An import that is known only when it runs. */
const UNKNOWN_IMPORT = /\bimport\(`/;

/** Compiles into `folder` what of `tests` can be, and everything that tests start. `nodeArgv` finds it there. */
export async function compile(folder: string, tests: readonly string[]): Promise<void> {
  const started = STARTED.map((name) => join(TOOLKIT, name));
  const own = tests.filter((file) => !UNKNOWN_IMPORT.test(readFileSync(file, 'utf8')));
  const entry = (file: string, start: string): { in: string; out: string } => ({
    in: `${start}${file}`,
    out: compiledFile(file, folder).slice(folder.length + 1, -'.mjs'.length),
  });
  await build({
    absWorkingDir: TOOLKIT,
    entryPoints: [
      ...PRELOADS.map((name) => entry(join(TOOLKIT, name), '')),
      ...[...started, ...own].map((file) => entry(file, 'start:')),
    ],
    ...{ outdir: folder, outExtension: { '.js': '.mjs' }, chunkNames: 'chunks/[name]-[hash]' },
    ...{ bundle: true, splitting: true, format: 'esm', platform: 'node', target: `node${process.versions.node}` },
    ...{ external: LEFT_OUT, keepNames: true, logLevel: 'warning' },
    // For a failure's stack: test/run.ts has Node read them for test files; for a script they would be a third of its start.
    ...{ sourcemap: 'linked', sourcesContent: false },
    define: { 'import.meta.url': URL_OF_SOURCE },
    // Packages of the older kind call it.
    banner: {
      js: "import{createRequire as requireFrom}from'node:module';const require=requireFrom(import.meta.filename);",
    },
    plugins: [starts, whereItWas, namesOfUndici],
  });
}

/** An entry is known to the file that it starts by its place among the sources, as if Node had been given that. */
const starts: Plugin = {
  name: 'starts',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^start:/ }, ({ path }) => ({ path: path.slice('start:'.length), namespace: 'start' }));
    onLoad({ filter: /./, namespace: 'start' }, ({ path }) => ({
      contents: `process.argv[1] = ${JSON.stringify(path)};\nawait import(${JSON.stringify(path)});`,
      resolveDir: TOOLKIT,
    }));
  },
};

/** A module lies where its source lies: templates, fixtures and the toolkit itself are looked for from there. */
const URL_OF_SOURCE = 'urlOfSource';
const whereItWas: Plugin = {
  name: 'where it was',
  setup({ onLoad }) {
    onLoad({ filter: /\.(ts|js|mjs)$/, namespace: 'file' }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (!text.includes('import.meta.url')) return undefined;
      const declared = `const ${URL_OF_SOURCE} = ${JSON.stringify(pathToFileURL(path).href)};`;
      return { contents: `${declared}${text}`, loader: path.endsWith('.ts') ? 'ts' : 'js' };
    });
  },
};

/** undici is CommonJS: loaded at run time Node gives its exports by their names, esbuild as `default` only. */
const namesOfUndici: Plugin = {
  name: 'names of undici',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^undici$/ }, ({ path, kind }) =>
      kind === 'dynamic-import' ? { path, namespace: 'names' } : undefined,
    );
    onLoad({ filter: /./, namespace: 'names' }, async ({ path }) => {
      const names = Object.keys(await import(path)).filter((name) => name !== 'default' && /^\w+$/.test(name));
      const contents = `import all from '${path}';\nexport const { ${names.join(', ')} } = all;`;
      return { contents, resolveDir: TOOLKIT };
    });
  },
};

function inFolder(folder: string, names: RegExp): string[] {
  const found = readdirSync(join(TOOLKIT, folder)).filter((name) => names.test(name));
  return found.map((name) => join(folder, name));
}
