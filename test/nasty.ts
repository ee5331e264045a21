import fc from 'fast-check';

const PIECES = [
  ...[
    "'",
    '"',
    '`',
    '$(id)',
    '${HOME}',
    '$HOME',
    '\\',
    '\n',
    '\r',
    '\t',
    ' ',
    ';',
    '&',
    '|',
    '*',
    '?',
    '[a]',
    '~',
    '#',
    '!',
  ],
  ...[
    '-n',
    '--',
    '-',
    '=',
    '%s',
    '\\n',
    '<',
    '>',
    '(',
    ')',
    '{a,b}',
    'ü',
    '名',
    '🧪',
    '\u202e',
    'a',
    '/',
    '/etc/passwd',
    ':',
    '@',
  ],
  ...['\u0001', '\u007f', "'\\''", '$', "$'x'", '\\057'],
];

/** Strings that shells, quoting functions and terminals stumble over; no NUL, which no argv can hold. */
export const nasty = fc.oneof(
  fc.array(fc.constantFrom(...PIECES), { maxLength: 8 }).map((pieces) => pieces.join('')),
  fc.string({ unit: 'binary', maxLength: 12 }).filter((text) => !text.includes('\0')),
);

/** The same without paths that lead upwards: the embedded host refuses those. */
export const nastyInside = nasty.filter((text) => !text.includes('..'));
