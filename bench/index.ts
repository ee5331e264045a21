import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { backup } from './backup.ts';
import { ledger } from './ledger.ts';
import { plan } from './plan.ts';
import { provision } from './provision.ts';
import { sets } from './sets.ts';
import { startup } from './startup.ts';

// `make bench`: absolute figures are this machine's, now; ratios compare within the same run.
// `make bench ARGS=48` does only `provision`, for that many VMs (several numbers: one after another); 48 take minutes.
const counts = process.argv.slice(2).map(Number);
if (!counts.every((count) => Number.isInteger(count) && count > 0)) throw new Error('numbers of VMs, please');
if (counts.length === 0) {
  console.log('start-up (aim: check --help under 1.5 ×)');
  for (const line of startup()) console.log(line);
  console.log('plan, from homelab.yaml to the steps of the chain (aim: near-linear, under 2 s at 300)');
  for (const line of plan()) console.log(line);
  console.log('ledger (aim: near-linear, under 1 s at 60000)');
  for (const line of ledger()) console.log(line);
  console.log('sets of backups, read and judged as `list` and retention do (aim: under 2 s for 10000)');
  for (const line of await sets()) console.log(line);
}
if (counts.length === 0) {
  console.log('backup-postgres, beside the programs that it calls (aim: 1.25 × of a bare pg_dump)');
  await backup([500, 2000], console.log);
}
console.log('provision, from nothing to proven VMs (aim: within 1.15 × of the critical path)');
await provision(counts.length > 0 ? counts : [3, 12], console.log);
if (counts.length === 0) {
  console.log('install-k3s on hosts of their own (aim: converged 10 ×, changing 3 × as fast as ansible-core)');
  // In a process of its own: it starts itself again, in namespaces.
  spawnSync(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('hosts.ts', import.meta.url))], {
    stdio: 'inherit',
  });
}
