import { spawnSync } from 'node:child_process';
import { enterNamespaces } from '../test/namespaces/enter.ts';
import { type NamespaceLab, startNamespaceLab } from '../test/namespaces/lab.ts';
import { Ansible } from './ansible.ts';
import { evenly } from './lab.ts';
import { best } from './measure.ts';

/**
 * `install-k3s` on hosts of their own (real OpenSSH, a real network, K3s emulated), beside ansible-core doing the equivalent
 * there: configuration file, package, service, wait. One run; whoever is measured meets the same machine.
 *
 *     node --import tsx bench/hosts.ts
 */
const ROUNDS = 3;

const why = enterNamespaces(import.meta.url);
if (why) {
  console.log(`  skipped: ${why}`);
  process.exit(0);
}
if (spawnSync('ansible-playbook', ['--version']).status === 0) await besideAnsible();
else console.log('  skipped: ansible-playbook is not installed');
await sideBySide();
process.exit(0);

async function besideAnsible(): Promise<void> {
  const lab = await startNamespaceLab();
  await run(lab, 'install-k3s');
  const ansible = new Ansible(lab);
  await ansible.play(); // its first run leaves temporary folders and connections
  const ours: number[] = [];
  const theirs: number[] = [];
  const defaults: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    ours.push(await run(lab, 'install-k3s'));
    theirs.push(await ansible.play());
    defaults.push(await ansible.play('site.yaml', false));
  }
  say('converged, 3 hosts', best(ours), best(theirs), 10);
  say('  its default settings', best(ours), best(defaults), 10);
  const changing: number[] = [];
  const changed: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    lab.edit(/^search_domain: .*$/m, `search_domain: ours-${round}.arpa`);
    changing.push(await run(lab, 'install-k3s'));
    ansible.change(`# ${round}\n`);
    changed.push(await ansible.play('one-by-one.yaml'));
    ansible.restore();
    await run(lab, 'install-k3s');
  }
  say('changing, 3 hosts', best(changing), best(changed), 3);
  const { stdout } = await lab.script('install-k3s', '--check', '--verbose', '--json');
  console.log(
    `  SSH round trips of a look: ${JSON.stringify((JSON.parse(stdout) as { roundTrips?: unknown }).roundTrips ?? 'not told')}`,
  );
  await lab.close();
}

/** 50 ms there and back, then thirty agents, then both. The hosts share this machine's cores with whoever asks them. */
async function sideBySide(): Promise<void> {
  await parallel('50 ms of latency, 3 hosts', 3, { milliseconds: 25 });
  await parallel('30 agents', 33);
  await parallel('30 agents, 50 ms of latency', 33, { milliseconds: 25 });
}

/** Wall time of all hosts against that of one alone. */
async function parallel(title: string, count: number, cable?: { milliseconds: number }): Promise<void> {
  const single = await startNamespaceLab({ edit: () => evenly(1), hosts: { 'k3s-cp-01': { cable } } });
  await run(single, 'install-k3s');
  const alone = best(await repeated(() => run(single, 'install-k3s')));
  await single.close();
  const text = evenly(count);
  const names = [...text.matchAll(/name: (k3s-\S+)/g)].map(([, name = '']) => name);
  const lab = await startNamespaceLab({
    edit: () => text,
    hosts: Object.fromEntries(names.map((name) => [name, { cable }])),
  });
  await run(lab, 'install-k3s');
  const all = best(await repeated(() => run(lab, 'install-k3s')));
  await lab.close();
  console.log(
    `  ${title.padEnd(28)} ${seconds(all)}  against one host ${seconds(alone)}  ${(all / alone).toFixed(2)} × (aim 1.2)`,
  );
}

async function repeated(work: () => Promise<number>): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) times.push(await work());
  return times;
}

/** Milliseconds of a whole run, start of Node included. @throws Error when it fails */
async function run(lab: NamespaceLab, name: string): Promise<number> {
  const began = performance.now();
  const { code, stderr } = await lab.script(name, '--yes');
  if (code !== 0) throw new Error(`${name} ended with ${code}: ${stderr}`);
  return performance.now() - began;
}

function say(title: string, ours: number, theirs: number, aim: number): void {
  console.log(
    `  ${title.padEnd(28)} ${seconds(ours)}  ansible-core ${seconds(theirs)}  ${(theirs / ours).toFixed(1)} × faster (aim ${aim})`,
  );
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`.padStart(8);
}
