import { ledger } from './ledger.ts';
import { plan } from './plan.ts';
import { provision } from './provision.ts';
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
}
console.log('provision, from nothing to proven VMs (aim: within 1.15 × of the critical path)');
await provision(counts.length > 0 ? counts : [3, 12], console.log);
