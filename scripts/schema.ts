import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { schemaText } from '../lib/config/schema-keys.ts';
import { TOOLKIT } from '../lib/paths.ts';

// For whoever changes lib/config/schema.ts: writes the JSON Schema of homelab.yaml, which editors use.
// It is no script of a lab: it reads none. `--check` exits with 3 when the file is not what it would write.
const file = join(TOOLKIT, 'templates', 'homelab.schema.json');
const text = schemaText();
const [flag, ...rest] = process.argv.slice(2);
if (flag === '--help' || flag === '-h') {
  console.log('Usage: schema [--check]\n\nWrites templates/homelab.schema.json; --check exits with 3 when it is stale');
} else if (rest.length > 0 || (flag !== undefined && flag !== '--check')) {
  console.error(`error: ${[flag, ...rest].join(' ')}: there is --check and --help`);
  process.exitCode = 2;
} else if (!flag) writeFileSync(file, text);
else if (readFileSync(file, 'utf8') !== text) {
  console.error(`${file} is stale; run: npm run schema`);
  process.exitCode = 3;
}
