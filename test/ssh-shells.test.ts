import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { realExec } from '../lib/ports/exec.ts';
import type { Input } from '../lib/ports/ssh-command.ts';
import { SudoRefused } from '../lib/ports/ssh-errors.ts';
import { Sudo, sudoRefusal } from '../lib/ports/ssh-sudo.ts';
import { upload } from '../lib/ports/ssh-upload.ts';
import type { Outcome, Ssh } from '../lib/ports/types.ts';
import { Secret } from '../lib/secret.ts';
import { ME, reasonOf, type SshLab, sshLab, startSshd, thrown, withSshd } from './sshd.ts';

/** What sudo 1.9, sudo-rs and older ones say, and what we make of it. */
const words = suite('ssh: sudo that refuses');
const table: [string, string, boolean, RegExp, RegExp][] = [
  [
    'no password, and one is wanted',
    'sudo: a password is required',
    false,
    /asks ops for a password, and there is none/,
    /SUDO_PASSWORD/,
  ],
  [
    'the same, sudo-rs',
    'sudo: interactive authentication is required',
    false,
    /asks ops for a password/,
    /SUDO_PASSWORD/,
  ],
  [
    'the same, where sudo looked for a terminal',
    'sudo: a terminal is required to read the password; either use the -S option or configure an askpass helper\nsudo: a password is required',
    ...([false, /asks ops for a password/, /NOPASSWD/] as const),
  ],
  [
    'a wrong password',
    'Sorry, try again.\n\nsudo: no password was provided\nsudo: 1 incorrect password attempt',
    ...([true, /does not take SUDO_PASSWORD for ops \(sudo: 1 incorrect/, /correct SUDO_PASSWORD/] as const),
  ],
  [
    'a wrong password, sudo-rs',
    'sudo: Authentication failed, try again.',
    true,
    /does not take SUDO_PASSWORD/,
    /correct/,
  ],
  [
    'nobody of the sudoers',
    '\nWe trust you have received the usual lecture.\n\nops is not in the sudoers file.\nThis incident has been reported to the administrator.',
    ...([
      true,
      /does not let ops run commands as root \(ops is not in the sudoers file\.\)/,
      /sudoers\.d\/ops/,
    ] as const),
  ],
  [
    'some commands only',
    'Sorry, user ops is not allowed to execute as root on x.',
    true,
    /does not let ops/,
    /sudoers\.d/,
  ],
  ['requiretty', 'sudo: sorry, you must have a tty to run sudo', false, /wants a terminal/, /Defaults:ops !requiretty/],
  ['no sudo at all', 'there is no sudo', false, /^k3s-cp-01: there is no sudo for ops$/, /install sudo/],
  [
    'what nobody foresaw',
    'sudo: /etc/sudo.conf is world writable',
    false,
    /\(sudo: \/etc\/sudo\.conf is world/,
    /by hand/,
  ],
];
for (const [what, said, given, message, fix] of table)
  words(what, () => {
    const error = sudoRefusal('k3s-cp-01', 'ops', said, given);
    assert.instance(error, SudoRefused);
    assert.match(error.message, message);
    assert.match(String(error.fix), fix);
  });
words.run();

/**
 * The shells that hosts have as login shell, each behind a real OpenSSH server, and with busybox its tools too. `sudo` is
 * a stand-in that does as a file says: the machine's own knows no user of ours.
 */
const shells = suite('ssh port: dash, bash and busybox sh behind real OpenSSH');
const HOST = 'k3s-cp-01';
const PASSWORD = "ge heim'$x";
const SUDO = `#!/bin/sh
read -r mode < "$SUDO_MODE"
ask=1 stdin=
while :; do
  case $1 in
    -n) ask= ;;
    -S) stdin=1 ;;
    -k) ;;
    -p) shift ;;
    --) shift; break ;;
    *) echo "usage: sudo, not: $*" >&2; exit 1 ;;
  esac
  shift
done
deny() { echo "$1" >&2; exit 1; }
case $mode in
  tty) deny 'sudo: sorry, you must have a tty to run sudo' ;;
  deutsch) [ "\${LC_ALL-}" = C ] && deny 'sudo: a password is required'; deny 'sudo: Ein Passwort ist notwendig' ;;
  asks|sudoers)
    [ "$ask" ] || deny 'sudo: a password is required'
    [ "$stdin" ] || deny 'sudo: a terminal is required to read the password'
    IFS= read -r given || deny 'sudo: no password was provided'
    [ "$given" = "$(cat "$SUDO_PASSWORD_FILE")" ] || deny 'sudo: 1 incorrect password attempt'
    [ "$mode" = asks ] || deny 'ops is not in the sudoers file.' ;;
esac
command -v "$1" > /dev/null || deny "sudo: $1: command not found"
SUDO_USER=ops exec "$@"
`;

withSshd(shells, () => {
  const exec = realExec();
  const installed = ['dash', 'bash', 'busybox'].filter((shell) => exec.which(shell));
  let lab: SshLab;

  shells.before(() => {
    lab = sshLab();
    for (const folder of ['tools', 'applets']) mkdirSync(join(lab.folder, folder));
    writeFileSync(join(lab.folder, 'tools', 'sudo'), SUDO, { mode: 0o755 });
    writeFileSync(join(lab.folder, 'password'), PASSWORD);
    if (!installed.includes('busybox')) return;
    const list = execFileSync('busybox', ['--list']).toString().split('\n').filter(Boolean);
    for (const applet of list) symlinkSync(exec.which('busybox') ?? '', join(lab.folder, 'applets', applet));
  });
  shells.after(() => lab.close());

  /** A server of which everything that is sent is read by `shell`. */
  const behind = async (shell: string): Promise<{ ssh: Ssh; end(): Promise<void> }> => {
    const isBusybox = shell === 'busybox';
    const path = `${lab.folder}/tools:${isBusybox ? `${lab.folder}/applets` : process.env.PATH}`;
    const variables = `SUDO_MODE=${lab.folder}/mode SUDO_PASSWORD_FILE=${lab.folder}/password PATH=${path}`;
    const script = join(lab.folder, `login-${shell}`);
    const run = `exec ${exec.which(shell)}${isBusybox ? ' sh' : ''} -c "$SSH_ORIGINAL_COMMAND"`;
    writeFileSync(script, `#!/bin/sh\nexport ${variables}\n${run}\n`, { mode: 0o755 });
    const settings = [`ForceCommand ${script}`];
    const server = await startSshd(join(lab.folder, `sshd-${shell}`), { authorized: [lab.publicKey], settings });
    lab.configure(`Host ${HOST}`, 'HostName 127.0.0.1', `Port ${server.port}`, `User ${ME}`);
    const ssh = lab.connect({ connectSeconds: 20 });
    await ssh.learnHostKey(HOST, server.hostKey);
    const end = async (): Promise<void> => {
      await ssh.close();
      await server.stop();
    };
    return { ssh, end };
  };

  for (const shell of ['dash', 'bash', 'busybox']) {
    if (!installed.includes(shell)) {
      shells.skip(`${shell} is not installed`, () => {});
      continue;
    }
    let ssh: Ssh;
    let end: () => Promise<void>;
    const mode = (text: string): void => writeFileSync(join(lab.folder, 'mode'), `${text}\n`);
    /** As the port does for a user that is not root; who runs these tests may be. */
    const withSudo = (password?: string): ((argv: readonly string[], stdin?: Input) => Promise<Outcome>) => {
      const sudo = new Sudo(HOST, 'ops', password === undefined ? undefined : new Secret('SUDO_PASSWORD', password));
      const line = (words: readonly string[], stdin?: Input): Promise<Outcome> =>
        ssh.run(HOST, words, { stdin: stdin as string | undefined }); // the port takes streams too; its interface does not say so
      return (argv, stdin) => sudo.run(argv, stdin, line);
    };

    shells(`${shell}: it is what reads our words`, async () => {
      ({ ssh, end } = await behind(shell));
      const { stdout } = await ssh.run(HOST, ['sh', '-c', 'echo "$1"', 'sh', "it's $HOME"]);
      assert.is(stdout, "it's $HOME\n");
      const which = (await ssh.run(HOST, ['readlink', '/proc/self/exe'])).stdout;
      if (shell === 'busybox') assert.match(which, /busybox/);
    });

    shells(`${shell}: an upload keeps content, mode and name; a file is read back`, async () => {
      const path = join(lab.folder, shell, "it's a $name", 'ü');
      const content = `${'zeile ü\n'.repeat(50_000)}\0end`;
      await ssh.upload(HOST, path, content, { mode: '0640' });
      assert.ok(readFileSync(path, 'utf8') === content);
      assert.equal([statSync(path).mode & 0o777, readdirSync(dirname(path))], [0o640, ['ü']]);
      assert.ok(reasonOf(await ssh.readFile(HOST, path)) === 'it answered');
      const read = await ssh.readFile(HOST, path);
      assert.ok(read.ok && read.value === content);
      assert.equal(await ssh.readFile(HOST, `${path}x`), { ok: true, value: undefined });
    });

    shells(`${shell}: a local file is compared by its SHA-256, and a wrong one changes nothing`, async () => {
      const [file, path] = [join(lab.folder, 'binary'), join(lab.folder, shell, 'k3s')];
      const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7) % 256));
      writeFileSync(file, content);
      await ssh.upload(HOST, path, { file }, { mode: '0755' });
      assert.ok(readFileSync(path).equals(content));
      const wrong = await thrown(ssh.upload(HOST, path, { file, sha256: 'f'.repeat(64) }, { mode: '0600' }));
      assert.match(String(wrong.output), /SHA-256 \w{64} arrived, not f{64}/);
      assert.is(statSync(path).mode & 0o777, 0o755);
      assert.not(readdirSync(dirname(path)).some((name) => name.endsWith('.tmp')));
    });

    shells(`${shell}: sudo without a password, asked for nothing`, async () => {
      mode('free');
      const { code, stdout } = await withSudo()(['sh', '-c', 'echo $SUDO_USER; cat'], 'input');
      assert.equal([code, stdout], [0, 'ops\ninput']);
      assert.equal(await withSudo('unused')(['cat'], 'input'), { code: 0, stdout: 'input', stderr: '' });
    });

    shells(`${shell}: sudo with a password, which the command does not see`, async () => {
      mode('asks');
      const sudo = withSudo(PASSWORD);
      assert.equal(await sudo(['cat'], 'input\n'), { code: 0, stdout: 'input\n', stderr: '' });
      const stream = (): Readable => Readable.from([Buffer.from('in '), Buffer.from('parts')]);
      assert.is((await sudo(['cat'], stream)).stdout, 'in parts');
      const path = join(lab.folder, shell, 'by-sudo');
      const file = join(lab.folder, 'binary');
      await upload(HOST, path, { file }, { mode: '0600' }, (argv, stdin) => sudo(argv, stdin));
      assert.ok(readFileSync(path).equals(readFileSync(file)));
    });

    shells(`${shell}: a command that fails is no sudo that refuses`, async () => {
      for (const [text, password] of [
        ['free', undefined],
        ['asks', PASSWORD],
      ] as const) {
        mode(text);
        const sudo = withSudo(password);
        const failed = await sudo(['sh', '-c', 'echo "sudo: a password is required" >&2; exit 1']);
        assert.equal([failed.code, failed.stderr], [1, 'sudo: a password is required\n'], text);
        assert.is((await sudo(['no-such-program'])).code, 127, text);
      }
    });

    const refusals: [string, string | undefined, RegExp][] = [
      ['asks', undefined, /k3s-cp-01: sudo asks ops for a password, and there is none to give/],
      ['asks', 'wrong', /does not take SUDO_PASSWORD for ops/],
      ['sudoers', PASSWORD, /does not let ops run commands as root \(ops is not in the sudoers file/],
      ['tty', undefined, /wants a terminal/],
      ['tty', PASSWORD, /wants a terminal/],
      ['deutsch', undefined, /asks ops for a password/],
    ];
    for (const [text, password, message] of refusals)
      shells(
        `${shell}: sudo that refuses (${text}, ${password ? 'with' : 'without'} a password) is told by name`,
        async () => {
          mode(text);
          const error = await thrown(withSudo(password)(['touch', join(lab.folder, 'never')]));
          assert.instance(error, SudoRefused);
          assert.match(error.message, message);
          assert.not(readdirSync(lab.folder).includes('never'));
        },
      );

    // The other shells find the sudo of this machine.
    if (shell === 'busybox')
      shells(`${shell}: a host without sudo`, async () => {
        renameSync(join(lab.folder, 'tools', 'sudo'), join(lab.folder, 'sudo'));
        for (const password of [undefined, PASSWORD])
          assert.match((await thrown(withSudo(password)(['true']))).message, /there is no sudo for ops/);
        renameSync(join(lab.folder, 'sudo'), join(lab.folder, 'tools', 'sudo'));
      });

    shells(`${shell}: it ends`, () => end());
  }
});

shells.run();
