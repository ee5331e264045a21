import { Transform } from 'node:stream';

/** More than this without a line's end is passed on in pieces. */
const LARGEST_LINE = 64 * 1024;

/**
 * A stream whose text names paths as the host does. Works on bytes: what is no text comes out as it went in.
 * @param longest bytes that `unmap` has to see in one piece
 */
export function unmapStream(unmap: (text: string) => string, longest: number): Transform {
  let rest = '';
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      rest += chunk.toString('latin1');
      const line = rest.lastIndexOf('\n') + 1;
      let ready = rest.slice(0, line);
      rest = rest.slice(line);
      if (rest.length > LARGEST_LINE) {
        const whole = unmap(rest);
        ready += whole.slice(0, -longest);
        rest = whole.slice(-longest);
      }
      done(null, Buffer.from(unmap(ready), 'latin1'));
    },
    flush(done) {
      done(null, Buffer.from(unmap(rest), 'latin1'));
    },
  });
}
