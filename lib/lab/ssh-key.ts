import ssh2 from 'ssh2';

/**
 * A new ed25519 key in OpenSSH's format. About one in two hundred that ssh2 makes it cannot read itself
 * (a value that begins with a zero byte is written one byte short), so each is read back.
 */
export function makeSshKey(comment: string): { private: string; public: string } {
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync('ed25519', { comment });
    if (!(ssh2.utils.parseKey(pair.private) instanceof Error)) return { private: pair.private, public: pair.public };
  }
}
