import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { unmapper } from '../lib/lab/hosts/paths.ts';
import { rewriteText } from '../lib/lab/hosts/rewrite.ts';
import { StandIns } from '../lib/lab/hosts/standins.ts';
import { type TranslateContext, translate } from '../lib/lab/hosts/translate.ts';
import { splitWords } from '../lib/lab/hosts/words.ts';
import { commandLine } from '../lib/quote.ts';

const test = suite('hosts: paths');
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'paths-')));
const R = `${folder}/root`;
const S = `${folder}/stand-ins`;
const map = { folder, mounts: [] };
const standIns = new StandIns(folder);
const context: TranslateContext = {
  ...map,
  cwd: '/home/ops',
  runner: (path) => standIns.runner(path),
  newScript: () => `${S}/calls/1/stdin`,
  copyScript: (original) => `${S}/calls/1${original}`,
};
mkdirSync(R, { recursive: true });
test.after(() => rmSync(folder, { recursive: true }));

const short = (text: string): string =>
  text.replaceAll(R, 'R').replaceAll(`${S}/bin`, 'BIN').replaceAll(`${S}/run`, 'RUN').replaceAll(S, 'S');

for (const [line, words] of [
  ['a b', ['a', 'b']],
  ["a 'b c'", ['a', 'b c']],
  ["'it'\\''s' ''", ["it's", '']],
  ["x='a b'/c", ['x=a b/c']],
  ["'a\nb'", ['a\nb']],
] as const)
  test(`${JSON.stringify(line)} is an argv`, () =>
    assert.equal(
      splitWords(line)?.map(({ value }) => value),
      words,
    ));

for (const line of ['a; b', 'a "b"', 'a $b', 'a > b', 'a\nb', "a 'b", 'a*', 'a &', '~/x', '`a`', 'a\\b'])
  test(`${JSON.stringify(line)} is text for a shell`, () => assert.is(splitWords(line), undefined));

for (const [argv, line] of [
  [['cat', '/etc/hosts'], 'cat R/etc/hosts'],
  [['cat', '/etc/a b'], "cat 'R/etc/a b'"],
  [['cat', '/'], 'cat R/'],
  [['cat', '/etc/../../../etc/shadow'], 'cat R/etc/shadow'],
  [['cat', '/dev/null', '/dev/sda'], 'cat /dev/null R/dev/sda'],
  [['cat', '/dev/null/../sda'], 'cat R/dev/sda'],
  [['dd', 'if=/dev/zero', 'of=/srv/x'], 'dd if=/dev/zero of=R/srv/x'],
  [['x', '--file=/etc/x', '-C/srv', '@/srv/y', 'K=/a:/b'], 'x --file=R/etc/x -CR/srv @R/srv/y K=R/a:R/b'],
  [['mount', 'nas:/vol/x', '/mnt'], 'mount nas:/vol/x R/mnt'],
  [['echo', 'https://x/y', 'a/b', '10.0.0.0/8'], 'echo https://x/y a/b 10.0.0.0/8'],
  [['sudo', '-n', '--', 'tee', '/etc/x'], 'sudo -n -- tee R/etc/x'],
  [['env', 'A=/x', 'cat', '/y'], 'env A=R/x cat R/y'],
  [['/usr/bin/sudo', 'cat', '/y'], 'BIN/sudo cat R/y'],
  [['sudo', '/usr/bin/env', 'A=b', '/bin/cat'], 'sudo BIN/env A=b BIN/cat'],
  [['/bin/cat', '/y'], 'BIN/cat R/y'],
  [['/usr/local/bin/k3s', '--version'], 'RUN/usr/local/bin/k3s --version'],
  [['sh', '-c', 'cat /etc/x "$1"', 'sh', '/y'], '/bin/sh -c \'cat R/etc/x "$1"\' sh R/y'],
  [['sudo', '-n', '--', 'sh', '-ec', 'cat /x'], "sudo -n -- /bin/sh -ec 'cat R/x'"],
  [['sh', '/opt/install.sh', '/x'], '/bin/sh S/calls/1/opt/install.sh R/x'],
  [['sh', 'install.sh'], '/bin/sh S/calls/1/home/ops/install.sh'],
  [['sh', '-s', '-', '/x'], '/bin/sh S/calls/1/stdin R/x'],
  [['sh'], '/bin/sh S/calls/1/stdin'],
] as const)
  test(`argv ${JSON.stringify(argv)}`, () => {
    assert.is(short(translate(commandLine(argv), context).line), line);
  });

for (const [text, expected] of [
  ['echo x > /etc/passwd', 'echo x > R/etc/passwd'],
  ['echo x >/etc/passwd 2>>/var/log/x', 'echo x >R/etc/passwd 2>>R/var/log/x'],
  ['cat</etc/x', 'cat<R/etc/x'],
  ['cat "/etc/a b" \'/etc/c d\'', 'cat "R/etc/a b" \'R/etc/c d\''],
  ['cat "$d"/x "${d}/y" $d/z', 'cat "$d"/x "${d}/y" $d/z'],
  ['p=/etc/x; cat $p', 'p=R/etc/x; cat $p'],
  ['${X:-/etc/x} ${p%/*} ${p##*/}', '${X:-R/etc/x} ${p%/*} ${p##*/}'],
  ['cat /etc/$x /etc/*.conf', 'cat R/etc/$x R/etc/*.conf'],
  ['cat /$x', 'cat R/$x'],
  ['a=$(cat /etc/x) && b=`cat /etc/y`', 'a=$(cat R/etc/x) && b=`cat R/etc/y`'],
  ['echo $((4 / 2)) /x', 'echo $((4 / 2)) R/x'],
  ['curl https://a/b | tee /x', 'curl https://a/b | tee R/x'],
  ["sed -i 's/a/b/; s, /x,/y,' /etc/x", "sed -i 's/a/b/; s, /x,/y,' R/etc/x"],
  ["sed -n '/foo/p' /etc/x", "sed -n '/foo/p' R/etc/x"],
  ['sed -n "s/^x //p" "/etc/x"', 'sed -n "s/^x //p" "R/etc/x"'],
  ["echo '#!/bin/sh' > /srv/x", "echo '#!/bin/sh' > R/srv/x"],
  ["grep '^/dev' /proc/mounts", "grep '^/dev' R/proc/mounts"],
  ["trap 'rm -f /srv/x' EXIT", "trap 'rm -f R/srv/x' EXIT"],
  ["# don't touch /etc/x\ncat /y", "# don't touch /etc/x\ncat R/y"],
  ['cat > /etc/u <<EOF\nExecStart=/usr/bin/x\nEOF\ncat /y', 'cat > R/etc/u <<EOF\nExecStart=/usr/bin/x\nEOF\ncat R/y'],
  ['cat <<EOF\n$(cat /etc/x)\nEOF\n', 'cat <<EOF\n$(cat R/etc/x)\nEOF\n'],
  ["cat <<'EOF'\n$(cat /etc/x)\nEOF\n", "cat <<'EOF'\n$(cat /etc/x)\nEOF\n"],
  ['[ -f /etc/x ] || exit 1', '[ -f R/etc/x ] || exit 1'],
  ['case $x in /*) echo abs ;; esac', 'case $x in R/*) echo abs ;; esac'],
  ['#!/bin/sh\nset -e', '#!/bin/sh\nset -e'],
  ['/opt/tool /x && sudo -n /opt/tool', 'RUN/opt/tool R/x && sudo -n RUN/opt/tool'],
  ['f() { /opt/tool /x; }; g () { /opt/tool; }', 'f() { RUN/opt/tool R/x; }; g () { RUN/opt/tool; }'],
  ['{ /opt/tool /x; } > /y; $( cat /z ) /x', '{ RUN/opt/tool R/x; } > R/y; $( cat R/z ) R/x'],
  ['x=$(/usr/local/bin/k3s -v)', 'x=$(RUN/usr/local/bin/k3s -v)'],
  ['sha256sum /usr/local/bin/k3s', 'sha256sum R/usr/local/bin/k3s'],
  ['echo a/b ./c "d / e" 1/2 and/or', 'echo a/b ./c "d R/ e" 1/2 and/or'],
  ['cat /dev/null /dev/fd/3 > /dev/sda', 'cat /dev/null /dev/fd/3 > R/dev/sda'],
] as const)
  test(`text ${JSON.stringify(text)}`, () => {
    const rewritten = rewriteText(text, { ...map, command: (path) => `${S}/run${path}` });
    assert.is(short(rewritten), expected);
    const again = rewriteText(rewritten, { ...map, command: (path) => path });
    assert.is(again, rewritten, 'what was mapped stays');
  });

for (const text of [
  'cat ../../../etc/passwd',
  'cd .. && rm -rf x',
  'cat "$x/../y"',
  'cat ~root/.ssh/id',
  'cat \\/etc/passwd',
  "printf '\\057etc\\057passwd'",
  "cat $'\\x2fetc'",
])
  test(`refused: ${text}`, () =>
    assert.throws(
      () => rewriteText(text, { ...map, command: (path) => path }),
      (e: Error) => e.constructor.name === 'Refused',
    ));

test('refused: an argument that climbs out of the root', () => {
  assert.throws(() => translate('cat ../../../etc/passwd', context), /leads out of the host's root/);
  assert.is(translate('cat ../x ../../y', context).line, 'cat ../x ../../y');
});

test('output names paths as the host does', () => {
  const unmap = unmapper({ folder, mounts: [{ point: '/mnt/x', folder: '/nas/e' }] });
  const text = `${R}/etc/x ${R} ${S}/bin/cat ${S}/run/usr/local/bin/k3s /nas/e/f`;
  assert.is(unmap(text), '/etc/x / /usr/bin/cat /usr/local/bin/k3s /mnt/x/f');
});

test.run();
