import { mkdirSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { LabHost, Program, ProgramResult } from '../../lib/lab/types.ts';

/**
 * What a stand-in on a host is: a few lines of Perl (of Debian's base system) that hand their arguments to the tests
 * and become what these answer. Stdin is sent where the arguments say that it is read ("-"): a script that comes on
 * stdin must not be eaten by a program that it calls.
 */
export const ASK = `#!/usr/bin/perl
use strict; use IO::Socket::UNIX;
my $as = $0 eq '/opt/lab/ask' ? shift @ARGV : $0;
$as =~ s{.*/}{};
my $in = '';
if (grep { $_ eq '-' } @ARGV) { local $/; $in = <STDIN>; $in = '' unless defined $in; }
my $peer = IO::Socket::UNIX->new('/run/lab/ask') or do { print STDERR "$as: the lab does not answer\\n"; exit 70; };
my $request = join "\\0", $>, $as, @ARGV;
print $peer length($request), "\\n", $request, length($in), "\\n", $in;
$peer->flush;
local $/; my $answer = <$peer>;
$answer =~ s/^(\\d+) (\\d+)\\n// or exit 70;
my ($code, $out) = ($1, $2);
print STDOUT substr($answer, 0, $out);
print STDERR substr($answer, $out);
exit $code;
`;

/** Answers the stand-ins of one host, over a socket that is mounted into it. */
export function serveStandIns(socket: string, host: LabHost, programs: ReadonlyMap<string, Program>): Server {
  mkdirSync(dirname(socket), { recursive: true });
  const server = createServer({ allowHalfOpen: true }, (peer) => {
    peer.on('error', () => {});
    void serve(peer, host, programs);
  });
  server.listen(socket);
  return server;
}

async function serve(peer: Socket, host: LabHost, programs: ReadonlyMap<string, Program>): Promise<void> {
  const [request, stdin] = await blocks(peer, 2);
  const [uid, name = '', ...args] = (request ?? '').split('\0');
  const program = programs.get(name);
  const call = { host, argv: [name, ...args], env: {}, cwd: '/', stdin: stdin ?? '', root: uid === '0' };
  const {
    code,
    stdout = '',
    stderr = '',
  } = program
    ? await Promise.resolve(program(call)).catch(
        (error: Error): ProgramResult => ({ code: 70, stderr: `${error.stack}\n` }),
      )
    : { code: 127, stderr: `sh: 1: ${name}: not found\n` };
  peer.end(
    Buffer.concat([Buffer.from(`${code} ${Buffer.byteLength(stdout)}\n`), Buffer.from(stdout), Buffer.from(stderr)]),
  );
}

/** Blocks of "LENGTH\\nBYTES" from a stream. */
function blocks(peer: Socket, count: number): Promise<string[]> {
  return new Promise((resolve) => {
    let buffer = Buffer.alloc(0);
    const found: string[] = [];
    const read = (): void => {
      while (found.length < count) {
        const end = buffer.indexOf(10);
        const size = Number(buffer.subarray(0, end).toString());
        if (end < 0 || buffer.length < end + 1 + size) return;
        found.push(buffer.subarray(end + 1, end + 1 + size).toString());
        buffer = buffer.subarray(end + 1 + size);
      }
      peer.off('data', more);
      resolve(found);
    };
    const more = (chunk: Buffer): void => {
      buffer = Buffer.concat([buffer, chunk]);
      read();
    };
    peer.on('data', more);
    peer.on('end', () => resolve(found));
  });
}
