type Known = {
  says: RegExp;
  cause: string;
  fix: string;
  /** It stays so until somebody does something. */
  stuck?: true;
};

/** What cert-manager, Cloudflare and Let's Encrypt say, and what it comes from. The first that matches counts. */
const KNOWN: readonly Known[] = [
  {
    says: /Cloudflare API.*Error: (6003|6111|9103|9106|9109|10000|10001)\b/i,
    cause: 'Cloudflare refuses the token, or what the token is for',
    fix: 'make one with Zone:Zone:Read and Zone:DNS:Edit for the zone, put it into .env (CLOUDFLARE_API_TOKEN), run setup-ingress, and run this again',
    stuck: true,
  },
  {
    says: /found no zones for|could not find the start of authority|while attempting to find zones/i,
    cause: 'the token sees no such zone at Cloudflare',
    fix: 'is the domain at Cloudflare, and does the token include its zone (Zone:Zone:Read)?',
    stuck: true,
  },
  {
    says: /error getting cloudflare secret|specified key .* not found in secret/i,
    cause: 'cert-manager has no Cloudflare token',
    fix: 'run setup-ingress, and run this again',
    stuck: true,
  },
  {
    says: /ratelimited|too many (certificates|failed authorizations|new orders|requests)/i,
    cause: "Let's Encrypt issues no more of these for a while: a rate limit",
    fix: 'wait until the time that it names; for trying things out there is `issuer: letsencrypt-staging`',
    stuck: true,
  },
  {
    says: /\bCAA\b/,
    cause: "a CAA record of the domain does not allow Let's Encrypt",
    fix: 'add `0 issue "letsencrypt.org"` at Cloudflare, or take the records away',
    stuck: true,
  },
  {
    says: /rejectedidentifier|invalid public suffix|policy forbids/i,
    cause: "Let's Encrypt issues nothing for this name",
    fix: 'give another --host',
    stuck: true,
  },
  {
    says: /no configured challenge solvers|no solver/i,
    cause: 'the issuer proves names of the domain only',
    fix: 'give a --host in the domain of homelab.yaml',
    stuck: true,
  },
  {
    says: /accountdoesnotexist/i,
    cause: "Let's Encrypt does not know the issuer's account",
    fix: 'delete the Secret of its account in cert-manager, run setup-ingress, and run this again',
    stuck: true,
  },
  {
    says: /propagat/i,
    cause:
      'the record that proves the name is not seen from where cert-manager asks (1.1.1.1 and 9.9.9.9, port 53): is DNS to the internet blocked, or answered by the router (split horizon)?',
    fix: 'let the nodes ask these two; or Cloudflare is slow: run it again',
  },
  {
    says: /no such host|i\/o timeout|connection refused|context deadline exceeded|no route to host/i,
    cause: "cert-manager does not reach Let's Encrypt or Cloudflare",
    fix: 'have the nodes a way to the internet, and DNS?',
  },
  {
    says: /acme:error:(dns|unauthorized)|incorrect txt record/i,
    cause: "Let's Encrypt did not find the record that proves the name, or an old one",
    fix: 'take old _acme-challenge records away at Cloudflare, and run this again',
    stuck: true,
  },
];

/** What comes from what was said, where that is known. */
export function causeOf(said: string): Known | undefined {
  return KNOWN.find(({ says }) => says.test(said));
}
