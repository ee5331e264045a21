import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { TOOLKIT } from '../lib/paths.ts';

type Entry = Partial<Record<'dependencies' | 'devDependencies' | 'optionalDependencies', Record<string, string>>>;

const test = suite('package-lock.json');
const { packages } = JSON.parse(readFileSync(join(TOOLKIT, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, Entry>;
};

/** Where Node finds `name` from a package's folder: in its own node_modules, or in one further up. */
function found(from: string, name: string): boolean {
  for (let folder = from; ; folder = folder.slice(0, Math.max(folder.lastIndexOf('/node_modules/'), 0))) {
    if (packages[`${folder ? `${folder}/` : ''}node_modules/${name}`]) return true;
    if (folder === '') return false;
  }
}

test('every package that one of its packages names is in it, those of other platforms too', () => {
  // Otherwise `npm ci` refuses to install anything, on every machine that has no node_modules yet.
  const missing = Object.entries(packages).flatMap(([from, { dependencies, devDependencies, optionalDependencies }]) =>
    Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies })
      .filter((name) => !found(from, name))
      .map((name) => `${from || 'package.json'} → ${name}`),
  );
  assert.equal(missing, []);
});

test('it is of this package.json', () => {
  const own = JSON.parse(readFileSync(join(TOOLKIT, 'package.json'), 'utf8')) as Entry;
  assert.equal(packages['']?.dependencies, own.dependencies);
  assert.equal(packages['']?.devDependencies, own.devDependencies);
});

test.run();
