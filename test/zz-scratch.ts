import { spawn } from 'node:child_process';
import { readdirSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { startFullLab } from './full-lab.ts';
const full = await startFullLab();
const t0 = Date.now(); const t = () => ((Date.now() - t0)/1000).toFixed(1);
const r = await full.script('install-k3s','--yes'); console.log(t(), 'k3s', r.code);
const kill = (name: string, marker: RegExp, extra: number) => new Promise<void>((done) => {
  const c = spawn(process.execPath, ['--import','tsx',`scripts/${name}.ts`,'--config',full.workspace.configFile,'--yes'], { env: { PATH: process.env.PATH, HOME: '/tmp' }, stdio: ['ignore','pipe','pipe'] });
  let out = ''; let armed = false;
  const on = (b: Buffer) => { out += b; if (!armed && marker.test(out)) { armed = true; setTimeout(() => c.kill('SIGKILL'), extra); } };
  c.stdout.on('data', on); c.stderr.on('data', on);
  c.on('close', (code, sig) => { console.log(t(), name, 'killed', sig, code, 'after', out.trim().split('\n').at(-1)?.slice(0,80)); done(); });
});
const left = () => {
  const s = JSON.stringify(full.lab.cluster.snapshot());
  const runs = full.workspace.config.k3s.nodes.map(n => n.vmid+'').concat(['pve-01','pve-02','pve-03']).flatMap(n => { const d = join(full.workspace.folder,'machines',n,'root','run'); return existsSync(d) ? readdirSync(d).filter(x=>x.startsWith('homelab-proof')) : []; });
  return { objects: [...new Set(s.match(/homelab-proof-\w+/g) ?? [])], folders: readdirSync(join(full.workspace.folder,'nas/unas/K3sStorage')), runs };
};
await full.script('setup-nfs','--yes'); console.log(t(), 'set up');
for (const extra of [0, 150, 400]) { const c = spawn(process.execPath, ['--import','tsx','scripts/setup-nfs.ts','--config',full.workspace.configFile,'--yes'], { env: { PATH: process.env.PATH, HOME: '/tmp' }, stdio: ['ignore','pipe','pipe'] });
  const timer = setInterval(() => { if (JSON.stringify(full.lab.cluster.snapshot()).includes('homelab-proof-')) { clearInterval(timer); setTimeout(() => c.kill('SIGKILL'), extra); } }, 15);
  await new Promise<void>((done) => c.on('close', (code, sig) => { clearInterval(timer); console.log(t(), 'killed', sig, code); done(); }));
  await new Promise(r=>setTimeout(r,1500)); console.log(t(), extra, JSON.stringify(left())); }
const f = await full.script('setup-nfs','--yes'); console.log(t(), f.code, f.stderr.split('\n').filter(l=>/✗|proofs/.test(l)).join('\n'));
console.log(t(), JSON.stringify(left()), await full.plannedBy('setup-nfs'));
await full.close(); process.exit(0);
