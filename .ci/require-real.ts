import { readFileSync } from 'node:fs';

// Fails when the rehearsal that just ran used a stand-in for one of the named components.
const { components } = JSON.parse(readFileSync('.state/rehearsal/report.json', 'utf8')) as { components: Record<string, string> };
const wrong = process.argv.slice(2).filter((name) => components[name] !== 'real');
for (const name of wrong) console.error(`${name} was ${components[name] ?? 'not in the report'}, not real`);
process.exit(wrong.length > 0 ? 1 : 0);
