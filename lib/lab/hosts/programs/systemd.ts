import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { LabHost, Program, ProgramCall, ProgramResult, World } from '../../types.ts';
import { fail, ok, option, parseArgs } from './common.ts';
import { journalctl, journalLines, logger } from './journal.ts';
import { lines, plain } from './unit-names.ts';

type State = { active: 'inactive' | 'activating' | 'active' | 'deactivating' | 'failed'; since: string };

const FOLDER = 'etc/systemd/system';
const WANTS = `${FOLDER}/multi-user.target.wants`;
/** Units of the image, which run from the first boot on. */
const OF_THE_IMAGE = new Set(['ssh', 'cron', 'qemu-guest-agent', 'systemd-timesyncd', 'systemd-journald']);

const states = new WeakMap<LabHost, Map<string, State>>();

/** systemctl, journalctl and logger: unit files in the host's /etc/systemd/system, behind them the world's units. */
export function systemdPrograms(world: World): [string, Program][] {
  return [
    ['systemctl', (call) => systemctl(call, world)],
    ['journalctl', journalctl],
    ['logger', logger],
  ];
}

/** Starts what is enabled, side by side, as a boot does. */
export async function bootUnits(host: LabHost, world: World): Promise<void> {
  const folder = join(host.root, WANTS);
  const units = existsSync(folder) ? readdirSync(folder).map(plain) : [];
  await Promise.all(units.filter((unit) => exists(host, unit)).map((unit) => start(host, unit, world)));
}

/** Stops what runs, as a shutdown does. */
export async function stopUnits(host: LabHost, world: World): Promise<void> {
  await Promise.all([...statesOf(host).keys()].map((unit) => stop(host, unit, world)));
}

async function systemctl({ host, argv, root }: ProgramCall, world: World): Promise<ProgramResult> {
  const { options, operands } = parseArgs(argv.slice(1), [
    '-p',
    '--property',
    '-n',
    '--lines',
    '-t',
    '--type',
    '--state',
  ]);
  const [verb = 'list-units', ...names] = operands;
  const units = names.map(plain);
  const looking = LOOK[verb];
  if (looking) return looking(host, units, options);
  if (!root)
    return fail(
      1,
      `Failed to ${verb} ${units.map((u) => `${u}.service`).join(' ')}: Interactive authentication required.`,
    );
  if (verb === 'daemon-reload' || verb === 'reset-failed' || verb === 'daemon-reexec') return ok();
  const unknown = units.find((unit) => !exists(host, unit));
  if (unknown !== undefined && verb !== 'disable') {
    const enabling = verb === 'enable' || verb === 'mask';
    return enabling
      ? fail(1, `Failed to enable unit: Unit file ${unknown}.service does not exist.`)
      : fail(5, `Failed to ${verb} ${unknown}.service: Unit ${unknown}.service not found.`);
  }
  const change = CHANGE[verb];
  if (!change) return fail(1, `Unknown command verb ${verb}.`);
  const work = Promise.all(units.map((unit) => change(host, unit, world, options.has('--now'))));
  // The job is queued, and its outcome is the unit's state.
  if (options.has('--no-block')) return ok();
  const results = await work;
  return {
    code: Math.max(0, ...results.map(({ code }) => code)),
    stderr: results.map(({ stderr = '' }) => stderr).join(''),
  };
}

type Look = (host: LabHost, units: string[], options: Map<string, string>) => ProgramResult;

const LOOK: Record<string, Look> = {
  'is-active': (host, units, options) => {
    const active = units.map((unit) => stateOf(host, unit).active);
    const missing = units.some((unit) => !exists(host, unit));
    const code = active.includes('active') ? 0 : missing ? 4 : 3;
    return { code, stdout: quiet(options) ? '' : lines(active) };
  },
  'is-failed': (host, units) => {
    const active = units.map((unit) => stateOf(host, unit).active);
    return { code: active.includes('failed') ? 0 : 1, stdout: lines(active) };
  },
  'is-enabled': (host, units, options) => {
    const unknown = units.find((unit) => !exists(host, unit));
    if (unknown) return fail(1, `Failed to get unit file state for ${unknown}.service: No such file or directory`);
    const enabled = units.map((unit) => fileState(host, unit));
    return { code: enabled.includes('enabled') ? 0 : 1, stdout: quiet(options) ? '' : lines(enabled) };
  },
  status: (host, [unit = '']) => {
    if (!exists(host, unit)) return fail(4, `Unit ${unit}.service could not be found.`);
    const { active, since } = stateOf(host, unit);
    const log = journalLines(host, unit).slice(-10);
    const text = [
      `● ${unit}.service`,
      `     Loaded: loaded (/${FOLDER}/${unit}.service; ${fileState(host, unit)}; preset: enabled)`,
      `     Active: ${active} since ${since}`,
      ...(log.length > 0 ? ['', ...log] : []),
    ];
    return { code: active === 'active' ? 0 : 3, stdout: lines(text) };
  },
  show: (host, [unit = ''], options) => {
    const wanted = option(options, '-p', '--property')?.split(',');
    const { active, since } = stateOf(host, unit);
    const loaded = exists(host, unit);
    const all: Record<string, string> = {
      Id: `${unit}.service`,
      LoadState: loaded ? 'loaded' : 'not-found',
      ActiveState: active,
      SubState: active === 'active' ? 'running' : active === 'failed' ? 'failed' : 'dead',
      UnitFileState: loaded ? fileState(host, unit) : '',
      MainPID: active === 'active' ? '1000' : '0',
      Result: active === 'failed' ? 'exit-code' : 'success',
      NRestarts: '0',
      ActiveEnterTimestamp: active === 'active' ? since : '',
      FragmentPath: loaded ? `/${FOLDER}/${unit}.service` : '',
    };
    const keys = (wanted ?? Object.keys(all)).filter((key) => key in all);
    return ok(lines(keys.map((key) => (options.has('--value') ? (all[key] ?? '') : `${key}=${all[key]}`))));
  },
  cat: (host, [unit = '']) => {
    const file = join(host.root, FOLDER, `${unit}.service`);
    if (!existsSync(file)) return fail(1, `No files found for ${unit}.service.`);
    return ok(`# /${FOLDER}/${unit}.service\n${readFileSync(file, 'utf8')}`);
  },
  'list-units': (host, _units, options) => {
    const wanted = options.get('--state');
    const all = [...OF_THE_IMAGE, ...statesOf(host).keys()].map((unit) => ({ unit, ...stateOf(host, unit) }));
    const shown = all.filter(({ active }) => (wanted ? active === wanted : active !== 'inactive'));
    return ok(lines(shown.map(({ unit, active }) => `${unit}.service loaded ${active} running ${unit}`)));
  },
  'list-unit-files': (host) => {
    const folder = join(host.root, FOLDER);
    const files = readdirSync(folder).filter((name) => name.endsWith('.service'));
    return ok(lines(files.map((name) => `${name} ${fileState(host, plain(name))} enabled`)));
  },
  'is-system-running': () => ok('running\n'),
};

type Change = (host: LabHost, unit: string, world: World, now: boolean) => Promise<ProgramResult> | ProgramResult;

const CHANGE: Record<string, Change> = {
  start,
  stop,
  restart: async (host, unit, world) => {
    await stop(host, unit, world);
    return start(host, unit, world);
  },
  'try-restart': (host, unit, world) =>
    stateOf(host, unit).active === 'active' ? (CHANGE.restart?.(host, unit, world, false) ?? ok()) : ok(),
  reload: () => ok(),
  'reload-or-restart': (host, unit, world) => CHANGE.restart?.(host, unit, world, false) ?? ok(),
  enable: async (host, unit, world, now) => {
    const file = join(host.root, WANTS, `${unit}.service`);
    let stderr = '';
    if (!isLink(file)) {
      mkdirSync(join(host.root, WANTS), { recursive: true });
      symlinkSync(`../${unit}.service`, file);
      stderr = `Created symlink /${WANTS}/${unit}.service → /${FOLDER}/${unit}.service.\n`;
    }
    const started = now ? await start(host, unit, world) : ok();
    return { code: started.code, stderr: stderr + (started.stderr ?? '') };
  },
  disable: async (host, unit, world, now) => {
    const file = join(host.root, WANTS, `${unit}.service`);
    const there = isLink(file);
    rmSync(file, { force: true });
    if (now) await stop(host, unit, world);
    return { code: 0, stderr: there ? `Removed "/${WANTS}/${unit}.service".\n` : '' };
  },
  mask: () => ok(),
  unmask: () => ok(),
};

async function start(host: LabHost, unit: string, world: World): Promise<ProgramResult> {
  if (stateOf(host, unit).active === 'active') return ok();
  setState(host, unit, 'activating');
  host.log(unit, `Starting ${unit}.service...`);
  const behind = world.units.get(unit);
  const { ok: good } = behind
    ? await behind.start(host).catch((error: Error) => {
        host.log(unit, error.message);
        return { ok: false };
      })
    : { ok: true };
  setState(host, unit, good ? 'active' : 'failed');
  host.log(unit, good ? `Started ${unit}.service.` : `${unit}.service: Failed with result 'exit-code'.`);
  if (good) return ok();
  return fail(
    1,
    `Job for ${unit}.service failed because the control process exited with error code.\nSee "systemctl status ${unit}.service" and "journalctl -xeu ${unit}.service" for details.`,
  );
}

async function stop(host: LabHost, unit: string, world: World): Promise<ProgramResult> {
  const { active } = stateOf(host, unit);
  if (active === 'active' || active === 'activating') {
    setState(host, unit, 'deactivating');
    await world.units.get(unit)?.stop(host);
    host.log(unit, `Stopped ${unit}.service.`);
  }
  setState(host, unit, 'inactive');
  return ok();
}

function statesOf(host: LabHost): Map<string, State> {
  const found = states.get(host) ?? new Map<string, State>();
  states.set(host, found);
  return found;
}

function stateOf(host: LabHost, unit: string): State {
  const atBoot = OF_THE_IMAGE.has(unit) ? 'active' : 'inactive';
  return statesOf(host).get(unit) ?? { active: atBoot, since: '' };
}

function setState(host: LabHost, unit: string, active: State['active']): void {
  statesOf(host).set(unit, { active, since: new Date().toUTCString() });
}

function exists(host: LabHost, unit: string): boolean {
  return OF_THE_IMAGE.has(unit) || existsSync(join(host.root, FOLDER, `${unit}.service`));
}

function fileState(host: LabHost, unit: string): string {
  return OF_THE_IMAGE.has(unit) || isLink(join(host.root, WANTS, `${unit}.service`)) ? 'enabled' : 'disabled';
}

function isLink(file: string): boolean {
  return lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}

function quiet(options: ReadonlyMap<string, string>): boolean {
  return options.has('-q') || options.has('--quiet');
}
