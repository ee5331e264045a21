import { X509Certificate } from 'node:crypto';

/** A certificate as a server shows it. Nothing is said here of whether it is to be trusted. */
export type Certificate = {
  pem: string;
  /** SHA-256, as Proxmox prints it: "AB:CD:…". */
  fingerprint: string;
  issuer: string;
  /** What it is for: "DNS:pve-01, IP Address:10.20.11.11". */
  names: string;
};

/** @param certificate PEM or DER @throws Error when it is neither */
export function readCertificate(certificate: string | Uint8Array): Certificate {
  const x509 = new X509Certificate(certificate);
  const issuer = /^CN=(.*)$/m.exec(x509.issuer)?.[1] ?? x509.issuer.replaceAll('\n', ', ');
  return {
    pem: x509.toString(),
    fingerprint: x509.fingerprint256,
    issuer,
    names: x509.subjectAltName ?? 'no name',
  };
}

/** When it expires, in milliseconds. */
export function expiryOf({ pem }: Pick<Certificate, 'pem'>): number {
  return Date.parse(new X509Certificate(pem).validTo);
}

/** Whether a certificate is for this host, as Go programs see it: an alternative name counts, the common name does not. */
export function isFor({ pem }: Certificate, host: string): boolean {
  const x509 = new X509Certificate(pem);
  const isAddress = /^[\d.]+$|:/.test(host);
  return (isAddress ? x509.checkIP(host) : x509.checkHost(host, { subject: 'never' })) !== undefined;
}

/** The certificates of a PEM file; what is no certificate is left out. */
export function certificatesIn(text: string): Certificate[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.flatMap((block) => {
    try {
      return [readCertificate(block)];
    } catch {
      return [];
    }
  });
}

/** Whether two fingerprints are the same, however they are written. */
export function isSame(one: string, other: string): boolean {
  return one.toUpperCase() === other.toUpperCase();
}
