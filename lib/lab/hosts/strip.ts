import { Transform } from 'node:stream';

/**
 * A stream whose text names paths as the host does. Works on bytes: what is no text comes out as it went in. Only
 * what may be the beginning of one of `folders` waits for what follows, so that a dialogue goes on.
 */
export function unmapStream(unmap: (text: string) => string, folders: readonly string[]): Transform {
  const longest = Math.max(...folders.map((folder) => folder.length));
  let rest = '';
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      rest += chunk.toString('latin1');
      const ready = rest.length - begun(rest, folders, longest);
      const text = unmap(rest.slice(0, ready));
      rest = rest.slice(ready);
      done(null, Buffer.from(text, 'latin1'));
    },
    flush(done) {
      done(null, Buffer.from(unmap(rest), 'latin1'));
    },
  });
}

/** How much of a text's end is, or may become, one of the folders. */
function begun(text: string, folders: readonly string[], longest: number): number {
  const end = text.slice(-longest);
  for (let i = end.indexOf('/'); i !== -1; i = end.indexOf('/', i + 1)) {
    const piece = end.slice(i);
    if (folders.some((folder) => folder.startsWith(piece))) return piece.length;
  }
  return 0;
}
