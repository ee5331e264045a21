/** One word of a command line: `raw` as it was sent, `value` as the program gets it. */
export type Word = { raw: string; value: string };

const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+/;
const SINGLE = /^'([^']*)'/;
const ESCAPED = /^\\'/;

/**
 * Splits a command line that consists of plain and single-quoted words only, which is what lib/quote.ts makes.
 * @returns undefined for anything else: it is text for a shell
 */
export function splitWords(line: string): Word[] | undefined {
  const words: Word[] = [];
  let rest = line.trim();
  while (rest !== '') {
    const word: Word = { raw: '', value: '' };
    while (rest !== '' && !/^[ \t]/.test(rest)) {
      const plain = PLAIN.exec(rest)?.[0];
      const single = plain ? undefined : SINGLE.exec(rest);
      const piece = plain ?? single?.[0] ?? ESCAPED.exec(rest)?.[0];
      if (piece === undefined) return undefined;
      word.raw += piece;
      word.value += plain ?? single?.[1] ?? "'";
      rest = rest.slice(piece.length);
    }
    words.push(word);
    rest = rest.replace(/^[ \t]+/, '');
  }
  return words;
}
