import { generate, type SelfsignedOptions } from 'selfsigned';

/** A certificate and its private key, PEM. */
export type KeyPair = { cert: string; key: string };

const EC = { keyType: 'ec', algorithm: 'sha256' } as const satisfies SelfsignedOptions;
const MONTH = 30 * 24 * 3600 * 1000;

/** The rehearsal's own certificate authority: Proxmox's, the download mirror's and Let's Encrypt's part is played by it. */
export class LabCa {
  readonly #pair: KeyPair;

  private constructor(pair: KeyPair) {
    this.#pair = pair;
  }

  static async create(name = 'homelab rehearsal CA'): Promise<LabCa> {
    const pem = await generate([{ name: 'commonName', value: name }], {
      ...EC,
      extensions: [
        { name: 'basicConstraints', cA: true, critical: true },
        { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
      ],
    });
    return new LabCa({ cert: pem.cert, key: pem.private });
  }

  /** The CA's certificate, PEM. */
  get certificate(): string {
    return this.#pair.cert;
  }

  /** A certificate for names and addresses, valid for a month: a server's, unless it is said. */
  async issue(
    names: readonly string[],
    addresses: readonly string[] = [],
    use: 'serverAuth' | 'clientAuth' = 'serverAuth',
  ): Promise<KeyPair> {
    const pem = await generate([{ name: 'commonName', value: names[0] ?? addresses[0] ?? 'lab' }], {
      ...EC,
      ca: this.#pair,
      notAfterDate: new Date(Date.now() + MONTH),
      extensions: [
        { name: 'basicConstraints', cA: false, critical: true },
        { name: 'keyUsage', digitalSignature: true, critical: true },
        { name: 'extKeyUsage', [use]: true },
        {
          name: 'subjectAltName',
          altNames: [
            ...names.map((value) => ({ type: 2 as const, value })),
            ...addresses.map((ip) => ({ type: 7 as const, ip })),
          ],
        },
      ],
    });
    return { cert: pem.cert, key: pem.private };
  }
}
