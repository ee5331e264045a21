import { startFullLab } from './full-lab.ts';
const full = await startFullLab();
const t = () => new Date().toISOString().slice(14,19);
for (const argv of (process.argv[2] ?? '').split(';').map(s => s.trim().split(' '))) {
  console.log(t(), '$', argv.join(' '));
  const { code, stdout, stderr } = await full.script(argv[0]!, ...argv.slice(1));
  console.log(stdout.slice(-3000), stderr.slice(-6000), 'rc', code, t());
}
await full.close();
process.exit(0);
