import { lazily } from '../lib/lazy.ts';
import { type Args, command, defineScript, gathered } from '../lib/main.ts';
import type { RestoreArgs } from '../lib/plan/etcd-restore.ts';
import type { RestoreSeen } from '../lib/plan/etcd-restore-seen.ts';
import type { SnapshotsSeen } from '../lib/plan/etcd-snapshots-seen.ts';
import { noSteps } from '../lib/step.ts';

const observe = async () => (await import('../lib/observe/etcd-snapshots.ts')).observeSnapshots;
const planner = () => import('../lib/plan/etcd-snapshots.ts');
const reports = () => import('../lib/render/etcd-snapshot-report.ts');
const script = async () => (await import('../lib/observe/etcd-snapshots.ts')).snapshotScript();

type SaveArgs = Args & { name?: string; server?: string };

export default defineScript(import.meta.url, {
  name: 'etcd-snapshot',
  summary: 'Snapshots of etcd: from every server to the NAS, and back',
  description:
    'K3s keeps snapshots on the server that took them, and loses them with it. k3s.etcd_snapshots of homelab.yaml says\n' +
    'where they are brought, when, and how many are kept.',
  commands: [
    command<SnapshotsSeen, Args>({
      name: 'install',
      summary: 'Puts the job on every server, and takes the first snapshot; without k3s.etcd_snapshots removes it',
      ...lazily<SnapshotsSeen, Args>({
        observe,
        plan: async () => {
          const { planInstallSnapshots } = await planner();
          const text = await script();
          return (lab, seen) => planInstallSnapshots(lab, seen, text);
        },
        verify: async () => (await import('../lib/verify/etcd-snapshots.ts')).verifyInstalled,
      }),
    }),
    command<SnapshotsSeen, SaveArgs>({
      name: 'save',
      summary: 'Takes a snapshot now, and brings it to the NAS; one with a NAME is never pruned',
      arguments: [{ name: '[name]', description: 'what it is called; K3s adds the server and the time' }],
      options: [{ flags: '--server <name>', description: 'the server that takes it (default: the first that can)' }],
      ...lazily<SnapshotsSeen, SaveArgs>({
        observe,
        plan: async () => {
          const { planSaveSnapshot } = await planner();
          const text = await script();
          return (lab, seen, args) => planSaveSnapshot(lab, seen, text, args);
        },
        verify: async () => {
          const { verifySaved } = await import('../lib/verify/etcd-snapshots.ts');
          return (lab, ports, _args, _context, seen) => verifySaved(lab, ports, seen);
        },
      }),
    }),
    command<SnapshotsSeen, Args>({
      name: 'list',
      summary: 'Lists the snapshots on the servers and on the NAS, newest first',
      lock: 'none',
      ...lazily<SnapshotsSeen, Args>({
        observe,
        plan: async () => () => noSteps,
        report: async () => (await reports()).snapshotListReport,
      }),
    }),
    command<SnapshotsSeen, Args>({
      name: 'status',
      summary: 'Says how old the newest snapshot of each server on the NAS is; exit code 3 when it is too old',
      lock: 'none',
      ...lazily<SnapshotsSeen, Args>({
        observe,
        plan: async () => () => noSteps,
        report: async () => (await reports()).snapshotStatusReport,
      }),
    }),
    command<RestoreSeen, RestoreArgs>({
      name: 'restore',
      summary: 'Takes the cluster back to SNAPSHOT: what came later is gone',
      description:
        'Stops K3s on every server, moves its data aside (never deletes it), resets one with the snapshot, and lets the\n' +
        'others join it one by one; agents stay. Run again after an interruption it goes on where that one stopped; until\n' +
        'then K3s does not start with the machines. The way back from there, on each server: `systemctl stop k3s`, put\n' +
        'server/db.before-restore-… in the place of server/db, and tls and cred, where it has them, in the place of those\n' +
        'in server (where the reset was: the newest server/tls-…), delete /var/lib/homelab/etcd-restore and, in\n' +
        '/etc/rancher/k3s/config.yaml.d, homelab-restore.yaml, `systemctl enable --now k3s`.',
      arguments: [{ name: '<snapshot>', description: 'a name that `list` shows' }],
      options: [
        {
          flags: '--without <names>',
          description: 'servers that are gone for good, and cannot be stopped (comma-separated)',
          default: [],
          parse: gathered,
        },
      ],
      ...lazily<RestoreSeen, RestoreArgs>({
        observe: async () => (await import('../lib/observe/etcd-restore.ts')).observeRestore,
        plan: async () => {
          const { planRestoreSnapshot } = await import('../lib/plan/etcd-restore.ts');
          const text = await script();
          return (lab, seen, args) => planRestoreSnapshot(lab, seen, args, text);
        },
        operations: async () => (await import('../lib/operations/etcd-restore.ts')).restoreOperations,
        report: async () => (await reports()).restoreReport,
        verify: async () => {
          const { verifyRestored } = await import('../lib/verify/etcd-restore.ts');
          return (lab, ports, args, _context, seen) => verifyRestored(lab, ports, args, seen);
        },
      }),
    }),
  ],
});
