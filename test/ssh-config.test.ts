import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../lib/errors.ts';
import { realExec } from '../lib/ports/exec.ts';
import { expandTokens, type Jump, parseJump, parseSettings, saysTheSame } from '../lib/ports/ssh-config.ts';
import { type Login, openLogins } from '../lib/ports/ssh-login.ts';
import { ME, type SshLab, sshLab, thrown } from './sshd.ts';

const words = suite('ssh_config: what ssh -G says');

const jumps: [string, Jump][] = [
  ['bastion', { host: 'bastion', user: undefined, port: undefined }],
  ['bob@bastion:2200', { host: 'bastion', user: 'bob', port: 2200 }],
  ['bob@corp.example@bastion', { host: 'bastion', user: 'bob@corp.example', port: undefined }],
  ['ssh://bob@bastion:2200', { host: 'bastion', user: 'bob', port: 2200 }],
  ['[fd00::1]:2200', { host: 'fd00::1', user: undefined, port: 2200 }],
];
for (const [text, jump] of jumps) words(`ProxyJump ${text}`, () => assert.equal(parseJump(text), jump));

words('what is unset is nothing, and none is nothing too, but for the agent', () => {
  const nothing = 'hostname k3s-cp-01\nport 22\nuser homelab-unset\nidentityfile homelab-unset\n';
  assert.equal(
    parseSettings(`${nothing}proxyjump none\nproxycommand none\nidentitiesonly no\nuserknownhostsfile none\n`),
    {
      ...{
        hostName: 'k3s-cp-01',
        port: 22,
        user: undefined,
        keys: [],
        identitiesOnly: false,
        identityAgent: undefined,
      },
      ...{ jumps: [], proxyCommand: undefined, knownHosts: [], hostKeyAlias: undefined },
    },
  );
  assert.is(parseSettings(`${nothing}identityagent none\n`).identityAgent, 'none');
});

words('files with spaces in their names stay whole', () => {
  const { keys, knownHosts } = parseSettings(
    'identityfile ~/.ssh/lab key\nuserknownhostsfile /home/a b/known /c\nglobalknownhostsfile /etc/d\n',
  );
  assert.equal(keys, ['~/.ssh/lab key']);
  assert.equal(knownHosts, ['/home/a b/known', '/c', '/etc/d']);
});

words('two destinations are told the same, but for their names', () => {
  const of = (text: string) => parseSettings(text);
  const names = ['k3s-cp-01', 'nobody'];
  assert.ok(saysTheSame(of('hostname k3s-cp-01.lan\nport 22\n'), of('hostname nobody.lan\nport 22\n'), names));
  assert.not(saysTheSame(of('hostname k3s-cp-01\nport 22\n'), of('hostname nobody\nport 23\n'), names));
});

words('tokens and variables of a path', () => {
  const its = { host: '127.0.0.1', name: 'k3s-cp-01', port: 2222, user: 'ops' };
  const before = process.env.HOME;
  process.env.HOME = '/home/o';
  try {
    assert.is(expandTokens('~/.ssh/%n-%h-%p-%r-%u-%%-%Q', its), `/home/o/.ssh/k3s-cp-01-127.0.0.1-2222-ops-${ME}-%-%Q`);
    assert.is(expandTokens('%d/${HOME}/${NO_SUCH_THING}', its), '/home/o//home/o/${NO_SUCH_THING}');
    assert.is(expandTokens('%l', its), hostname());
  } finally {
    process.env.HOME = before;
  }
});

words.run();

/** With this machine's own ssh. */
const logins = suite('ssh_config: how a host is logged in to');
let lab: SshLab;
const HOST = 'k3s-cp-01';
const PATH = process.env.PATH ?? '';

if (!realExec().which('ssh')) logins.skip('there is no ssh on this machine', () => {});
else declare();

function declare(): void {
  logins.before(() => {
    lab = sshLab();
    lab.lab.config.template.user = 'ops';
  });
  logins.after.each(() => {
    process.env.PATH = PATH;
    lab.details.length = 0;
  });
  logins.after(() => lab.close());

  /** What a new port would do with this ~/.ssh/config. */
  const login = (host: string, ...config: string[]): Promise<Login> => {
    lab.configure(...config);
    return openLogins(lab.context)(host);
  };
  const where = ({ user, address, port }: Login): string => `${user}@${address}:${port}`;
  const keysOf = ({ keys }: Login): string[] => keys.map(({ file }) => file.replace(`${lab.folder}/`, ''));

  const places: [string, string[], string][] = [
    ['nothing: homelab.yaml says all', ['Host other', 'User x'], 'ops@10.20.11.80:22'],
    ['its name', [`Host ${HOST}`, 'HostName 127.0.0.9', 'Port 2222', 'User alice'], 'alice@127.0.0.9:2222'],
    ['a pattern of names', ['Host k3s-*', 'User alice'], 'alice@10.20.11.80:22'],
    ['a pattern of addresses', ['Host 10.20.11.*', 'Port 2200', 'User alice'], 'alice@10.20.11.80:2200'],
    ['another pattern of addresses', ['Host 10.20.12.*', 'Port 2200'], 'ops@10.20.11.80:22'],
    ['both: the name is what a person types', ['Host 10.*', 'User b', `Host ${HOST}`, 'User a'], 'a@10.20.11.80:22'],
    ['a pattern that excludes it', [`Host k3s-* !${HOST}`, 'User alice'], 'ops@10.20.11.80:22'],
    ['Match', [`Match originalhost ${HOST}`, 'Port 2222'], 'ops@10.20.11.80:2222'],
    ['the local user, by name', [`Host ${HOST}`, `User ${ME}`], `${ME}@10.20.11.80:22`],
    ['tokens', [`Host ${HOST}`, 'HostName %h.lan'], `ops@${HOST}.lan:22`],
    // What is said of every host says less than homelab.yaml, which is about this one.
    ['every host', ['Host *', 'User corp', 'HostName %h.corp.example'], 'ops@10.20.11.80:22'],
    ['every host, and a port', ['Host *', 'Port 2022'], 'ops@10.20.11.80:2022'],
    ['every host, and this one', ['Host k3s-*', 'Port 2222', 'Host *', 'User corp'], 'ops@10.20.11.80:2222'],
  ];
  for (const [what, config, wanted] of places)
    logins(`ssh_config has ${what}`, async () => assert.is(where(await login(HOST, ...config)), wanted));

  logins('Include, with a pattern, from the folder that ssh takes', async () => {
    mkdirSync(join(lab.home, 'conf.d'), { recursive: true });
    writeFileSync(join(lab.home, 'conf.d', 'lab.conf'), `Host ${HOST}\n  Port 2223\n`, { mode: 0o600 });
    assert.is(where(await login(HOST, `Include ${lab.home}/conf.d/*.conf`)), 'ops@10.20.11.80:2223');
  });

  logins("keys: this host's, then homelab.yaml's; those of every host come last", async () => {
    const [own, corp] = [join(lab.folder, 'own'), join(lab.folder, 'corp')];
    assert.equal(keysOf(await login(HOST)), ['key']);
    assert.equal(keysOf(await login(HOST, `Host ${HOST}`, `IdentityFile ${own}`)), ['own', 'key']);
    assert.equal(keysOf(await login(HOST, 'Host *', `IdentityFile ${corp}`)), ['key', 'corp']);
    assert.equal(keysOf(await login(HOST, 'Host k3s-*', `IdentityFile ${own}`, 'Host *', `IdentityFile ${corp}`)), [
      ...['own', 'corp', 'key'],
    ]);
    assert.equal(keysOf(await login(HOST, `Host ${HOST}`, `IdentityFile ${lab.folder}/key`)), ['key'], 'once each');
    assert.equal(keysOf(await login(HOST, `Host ${HOST}`, 'IdentityFile "~/.ssh/%n key"')), [
      ...[`home/.ssh/${HOST} key`, 'key'],
    ]);
  });

  logins('the agent: a socket, a variable, the usual one, none', async () => {
    const agent = async (setting: string): Promise<string | undefined> =>
      (await login(HOST, `Host ${HOST}`, setting)).agent;
    process.env.SSH_AUTH_SOCK = '/usual';
    process.env.MY_AGENT = '/mine';
    try {
      assert.is(await agent('Port 2'), '/usual');
      assert.is(await agent('IdentityAgent none'), undefined);
      assert.is(await agent('IdentityAgent SSH_AUTH_SOCK'), '/usual');
      assert.is(await agent('IdentityAgent $MY_AGENT'), '/mine');
      assert.is(await agent('IdentityAgent ${MY_AGENT}.sock'), '/mine.sock');
      assert.is(await agent('IdentityAgent "/a b/sock"'), '/a b/sock');
    } finally {
      delete process.env.SSH_AUTH_SOCK;
      delete process.env.MY_AGENT;
    }
    assert.is((await login(HOST, 'IdentitiesOnly yes')).identitiesOnly, true);
  });

  logins('known hosts: of HOME without a setting, and under the names that the host has', async () => {
    const usual = (await login(HOST)).knownHosts;
    assert.equal(usual.files.slice(0, 2), [
      join(lab.home, '.ssh', 'known_hosts'),
      join(lab.home, '.ssh', 'known_hosts2'),
    ]);
    assert.ok(usual.files.includes('/etc/ssh/ssh_known_hosts'));
    assert.equal(usual.names, ['10.20.11.80', HOST, `${HOST}.home.arpa`]);
    const own = (await login(HOST, `Host ${HOST}`, 'UserKnownHostsFile /a/%n', 'HostKeyAlias lab')).knownHosts;
    assert.equal([own.files[0], own.names], [`/a/${HOST}`, ['lab']]);
  });

  logins('jump hosts: a chain, each with its own entry, user and port', async () => {
    const { via } = await login(
      HOST,
      ...['Host k3s-*', 'ProxyJump outer,carl@inner:2201'],
      ...['Host outer', 'HostName 127.0.0.2', 'User olga', 'Port 2202'],
      ...['Host inner', 'HostName 127.0.0.3', 'User ina', 'ProxyJump never'],
    );
    assert.is(via && where(via), 'carl@127.0.0.3:2201', 'the last leads to the host, and what the jump says counts');
    assert.is(via?.via && where(via.via), 'olga@127.0.0.2:2202');
    assert.is(via?.via?.via, undefined);
    assert.match(lab.details.join(), /through outer, inner/);
  });

  logins('a jump host that has one itself; the user of this machine where nothing is said', async () => {
    const { via } = await login(HOST, 'Host k3s-*', 'ProxyJump inner', 'Host inner', 'ProxyJump outer');
    assert.equal([via && where(via), via?.via && where(via.via)], [`${ME}@inner:22`, `${ME}@outer:22`]);
    assert.equal(
      via?.keys.map(({ file }) => file.replace(/.*\//, '')),
      ['key', 'id_ed25519', 'id_ecdsa', 'id_rsa'],
    );
  });

  logins('tokens in ProxyJump', async () => {
    const { via } = await login(HOST, 'Host k3s-*', 'User alice', 'ProxyJump %r@gate-of-%n:2022');
    assert.is(via && where(via), 'alice@gate-of-k3s-cp-01:2022');
  });

  logins('a host of homelab.yaml as jump host is that host, by name and by address', async () => {
    for (const jump of ['pve-01', '10.20.11.11']) {
      const { via } = await login(HOST, 'Host k3s-*', `ProxyJump ${jump}`);
      assert.equal(
        [via?.id, via && where(via), via?.labAddress],
        ['pve-01', 'root@10.20.11.11:22', '10.20.11.11'],
        jump,
      );
    }
    const { via } = await login(HOST, 'Host k3s-*', 'ProxyJump bob@pve-01:2222');
    assert.equal([via && where(via), via?.labAddress], ['bob@10.20.11.11:2222', '10.20.11.11']);
  });

  logins('hosts behind one jump host share its connection', async () => {
    lab.configure('Host k3s-*', 'ProxyJump outer,inner');
    const of = openLogins(lab.context);
    const [a, b] = await Promise.all([of(HOST), of('k3s-cp-02')]);
    assert.is(a.via?.id, b.via?.id);
    assert.is(a.via?.via?.id, b.via?.via?.id);
    assert.is.not(a.id, b.id);
  });

  const refused: [string, string[], RegExp, RegExp][] = [
    [
      'ProxyCommand',
      ['Host k3s-*', 'ProxyCommand ssh -W %h:%p bastion'],
      /k3s-cp-01: ssh_config has "ProxyCommand ssh -W %h:%p bastion", which is not supported/,
      /ProxyJump X/,
    ],
    ['a jump host behind itself', ['Host *', 'ProxyJump bastion'], /jumphost loop via bastion/, /correct .*config/],
    [
      'a circle',
      ['Host k3s-*', 'ProxyJump inner', 'Host inner', 'ProxyJump outer', 'Host outer', 'ProxyJump inner'],
      /in a circle: k3s-cp-01 is reached through inner is reached through outer is reached through inner/,
      /ProxyJump none.* for inner/,
    ],
    [
      'what ssh cannot read',
      ['Host *', 'NoSuchThing yes'],
      /config: line 2: Bad configuration option: nosuchthing/,
      /ssh/,
    ],
  ];
  for (const [what, config, message, fix] of refused)
    logins(`${what} is an error of the configuration that says what to do`, async () => {
      const error = await thrown(login(HOST, ...config));
      assert.instance(error, UsageError);
      assert.match(error.message, message);
      assert.match(String(error.fix), fix);
      assert.not.match(error.message, /homelab-ssh-/, 'our own file is nobody’s business');
    });

  logins('a file that others may write is refused, as ssh refuses it', async () => {
    lab.configure('Host *');
    chmodSync(join(lab.home, '.ssh', 'config'), 0o666);
    const error = await thrown(openLogins(lab.context)(HOST));
    chmodSync(join(lab.home, '.ssh', 'config'), 0o600);
    assert.match(error.message, /Bad owner or permissions on .*config/);
  });

  /** An ssh that notes how it was called, and what it was given. */
  const notingSsh = (): (() => string[]) => {
    const bin = join(lab.folder, 'bin');
    const [calls, real] = [join(lab.folder, 'calls'), realExec().which('ssh')];
    mkdirSync(bin, { recursive: true });
    writeFileSync(calls, '');
    const note = `for last; do :; done; echo "$last $(env | grep -c PROXMOX_TOKEN_SECRET=)" >> ${calls}`;
    writeFileSync(join(bin, 'ssh'), `#!/bin/sh\n${note}\nexec ${real} "$@"\n`, { mode: 0o755 });
    process.env.PATH = `${bin}:${PATH}`;
    return () => readFileSync(calls, 'utf8').split('\n').filter(Boolean).sort();
  };

  logins('ssh is asked once a destination; no secret of the lab is in its environment', async () => {
    const calls = notingSsh();
    lab.configure('Host k3s-cp-01', 'Port 2222');
    process.env.PROXMOX_TOKEN_SECRET = 'hush-hush';
    lab.context.secrets.add('PROXMOX_TOKEN_SECRET', 'hush-hush');
    try {
      const of = openLogins(lab.context);
      await Promise.all([of(HOST), of(HOST), of('k3s-cp-02')]);
      await of(HOST);
    } finally {
      delete process.env.PROXMOX_TOKEN_SECRET;
    }
    assert.equal(calls(), ['10.20.11.81 0', 'homelab.invalid 0', 'k3s-cp-01 0', 'k3s-cp-02 0']);
  });

  logins('a rehearsal asks nobody: its hosts are the lab’s', async () => {
    const calls = notingSsh();
    lab.configure('Host *', 'Port 2222', 'ProxyJump bastion', `Host ${HOST}`, 'User alice');
    const endpoints = { ...lab.context.endpoints, rehearsal: true };
    const found = await openLogins({ ...lab.context, endpoints })(HOST);
    assert.equal([where(found), found.via, found.knownHosts.files, calls()], ['ops@10.20.11.80:22', undefined, [], []]);
  });

  logins('a machine without ssh goes on without, and says so once', async () => {
    lab.configure('Host *', 'Port 2222');
    process.env.PATH = join(lab.folder, 'nothing');
    const of = openLogins(lab.context);
    assert.is(where(await of(HOST)), 'ops@10.20.11.80:22');
    await of('k3s-cp-02');
    assert.equal(lab.details, ['there is no ssh on this machine, so ~/.ssh/config is not read']);
  });
}

logins.run();
