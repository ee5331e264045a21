import { ledger } from './ledger.ts';
import { plan } from './plan.ts';
import { startup } from './startup.ts';

// `make bench`: absolute figures are this machine's, now; ratios compare within the same run.
console.log('start-up (aim: check --help under 1.5 ×)');
for (const line of startup()) console.log(line);
console.log('plan, from homelab.yaml to the steps of the chain (aim: near-linear, under 2 s at 300)');
for (const line of plan()) console.log(line);
console.log('ledger (aim: near-linear, under 1 s at 60000)');
for (const line of ledger()) console.log(line);
