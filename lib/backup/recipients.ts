/** Enough of a public key to recognise it. */
export function shortRecipient(recipient: string): string {
  return `${recipient.slice(0, 12)}…${recipient.slice(-4)}`;
}
