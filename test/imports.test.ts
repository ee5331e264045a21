import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { TOOLKIT } from '../lib/paths.ts';

/** Who may import whom: docs/ARCHITECTURE.md, "Layout". */
const test = suite('imports');

type Import = { file: string; from: string /** Gone after compilation. */; typeOnly: boolean; names: string };

const files = ['lib', 'scripts', 'test', 'bench'].flatMap((folder) =>
  readdirSync(join(TOOLKIT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name)),
);
const source = new Map(files.map((file) => [file, readFileSync(join(TOOLKIT, file), 'utf8')]));
const imports = files.flatMap(importsOf);

/** Every import, static, dynamic or re-export; `from` is a path from the toolkit's folder, or a package. */
function importsOf(file: string): Import[] {
  const text = source.get(file)!;
  const pattern = /^(?:import|export)\s+(type\s+)?(?:([^'";]*?)\s+from\s+)?'([^']+)'|\bimport\('([^']+)'\)(\.\w)?/gm;
  return [...text.matchAll(pattern)].map(([, type, names = '', fixed, dynamic, member]) => {
    const from = fixed ?? dynamic!;
    const listed = /^\{(.*)\}$/s
      .exec(names)?.[1]
      ?.split(',')
      .filter((name) => name.trim());
    return {
      file,
      from: from.startsWith('.') ? relative(TOOLKIT, resolve(TOOLKIT, dirname(file), from)) : from,
      typeOnly: Boolean(type || member || listed?.every((name) => name.trim().startsWith('type '))),
      names,
    };
  });
}

/** Everything that `file` needs when it runs, with the way to it. */
function closure(file: string): Map<string, string[]> {
  const ways = new Map<string, string[]>([[file, [file]]]);
  for (const [at, way] of ways)
    for (const { from } of imports.filter((one) => one.file === at && !one.typeOnly))
      if (!ways.has(from)) ways.set(from, [...way, from]);
  return ways;
}

const PURE = /^lib\/(plan|render|ledger)\//;
const WORLD =
  /^(node:)?(fs|fs\/promises|child_process|net|http|https|http2|tls|dgram|dns|os|process|readline|worker_threads|timers.*)$/;
const CLIENTS = /^(zx(\/core)?|ssh2|proxmox-api|undici|pg|selfsigned|busboy|ora|tsx|esbuild)$/;

test('every import leads somewhere', () => {
  const missing = imports.filter(
    ({ from }) => /^(lib|scripts|test|bench)\//.test(from) && !existsSync(join(TOOLKIT, from)),
  );
  assert.equal(said(missing), []);
});

test('plans, renderers and the ledger reach neither ports nor files, programs, network or clock', () => {
  const reached = files
    .filter((file) => PURE.test(file))
    .flatMap((file) =>
      [...closure(file)]
        .filter(([module]) => module.startsWith('lib/ports/') || WORLD.test(module) || CLIENTS.test(module))
        .map(([, way]) => way.join(' → ')),
    );
  assert.equal(reached, []);
});

test('plans, renderers and the ledger use no globals of the world', () => {
  const globals =
    /\b(process\.|Date\.now\(|new Date\(\)|performance\.|Math\.random|fetch\(|setTimeout|setInterval|randomUUID|randomBytes|console\.)/;
  const used = files
    .filter((file) => PURE.test(file))
    .flatMap((file) => code(file).flatMap((line) => (globals.test(line) ? [`${file}: ${line.trim()}`] : [])));
  assert.equal(used, []);
});

test('nothing imports scripts, but tests, and check, which asks each for its plan', () => {
  const allowed = /^(test\/.*|scripts\/check\.ts)$/;
  assert.equal(said(imports.filter(({ file, from }) => from.startsWith('scripts/') && !allowed.test(file))), []);
});

test('only rehearse and tests import the embedded lab', () => {
  const allowed = /^(scripts\/rehearse\.ts|lib\/lab\/.*|test\/.*)$/;
  const others = imports.filter(
    ({ file, from, typeOnly }) => from.startsWith('lib/lab/') && !typeOnly && !allowed.test(file),
  );
  assert.equal(said(others), []);
});

test('the product imports nothing from tests and benches', () => {
  const wrong = imports.filter(({ file, from }) => /^(test|bench)\//.test(from) && /^(lib|scripts)\//.test(file));
  assert.equal(said(wrong), []);
});

test('what observes cannot change anything: it gets Readers, and names no writer', () => {
  const observers = files.filter((file) => file.startsWith('lib/observe/'));
  const writers = /\b(Ports|Ssh|Pve|Kube|Files|Net)\b/;
  const wrong = imports.filter(
    ({ file, from, names, typeOnly }) =>
      observers.includes(file) &&
      // The errors of the endpoint table are values; they do nothing.
      (typeOnly ? from.startsWith('lib/ports/') && writers.test(names) : /^lib\/ports\/(?!endpoints)/.test(from)),
  );
  assert.equal(said(wrong), []);
});

test('programs, SSH, Proxmox and HTTP are reached through ports only', () => {
  const allowed = /^(lib\/(ports|lab)\/|test\/|bench\/)/;
  const wrong = imports.filter(
    ({ file, from }) => /^(zx(\/core)?|ssh2|proxmox-api|undici)$/.test(from) && !allowed.test(file),
  );
  assert.equal(said(wrong), []);
});

test("PostgreSQL's client is used by the backup engine only", () => {
  const wrong = imports.filter(({ file, from }) => from === 'pg' && !/^(lib\/backup\/|test\/)/.test(file));
  assert.equal(said(wrong), []);
});

test('esbuild is used by what makes the bundle of the backup engine, and by what compiles tests, only', () => {
  assert.equal(said(imports.filter(({ from }) => from === 'esbuild')), [
    'lib/backup/bundle.ts imports esbuild',
    'test/compile.ts imports esbuild',
  ]);
});

test('the rules find what they forbid', () => {
  assert.ok(closure('lib/run.ts').has('zx/core'), 'lib/run.ts reaches zx through its ports');
  assert.ok(imports.some(({ file, from, typeOnly }) => file === 'lib/main.ts' && from === 'lib/apply.ts' && typeOnly));
  assert.ok(imports.some(({ file, from, typeOnly }) => file === 'lib/main.ts' && from === 'lib/run.ts' && !typeOnly));
});

/** Lines of a file that are no comments. */
function code(file: string): string[] {
  return source
    .get(file)!
    .split('\n')
    .filter((line) => !/^\s*(\/\/|\/?\*)/.test(line));
}

function said(list: readonly Import[]): string[] {
  return list.map(({ file, from }) => `${file} imports ${from}`);
}

test.run();
