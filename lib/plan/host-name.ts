/**
 * Why `host` cannot be the host of an Ingress, with what to do; undefined when it can.
 * A DNS name of two labels or more, the first of which may be `*`; no address, no port, no path.
 */
export function hostProblem(host: string): { message: string; fix: string } | undefined {
  const wrong = (why: string, fix: string): { message: string; fix: string } => ({ message: `"${host}" ${why}`, fix });
  const name = 'give a DNS name, such as myapp.example.com';
  if (/^https?:/i.test(host))
    return wrong('is a URL', `did you mean ${host.replace(/^https?:\/*/i, '').split(/[/:]/)[0]}?`);
  if (/^\d{1,3}(\.\d{1,3}){3}(:\d+)?$/.test(host) || /^\[?[0-9a-f]*:[0-9a-f:.]*:[0-9a-f:.]*\]?(:\d+)?$/i.test(host))
    return wrong('is an IP address; an ingress routes by name', name);
  const port = /^(.+):\d+$/.exec(host);
  if (port) return wrong('has a port; an ingress listens on 80 and 443', `did you mean ${port[1]}?`);
  if (host !== host.toLowerCase()) return wrong('has capital letters', `did you mean ${host.toLowerCase()}?`);
  if (host.endsWith('.')) return wrong('ends with a dot', `did you mean ${host.replace(/\.+$/, '')}?`);
  if (host.length > 253) return wrong('is longer than 253 characters', name);
  const labels = host.replace(/^\*\./, '').split('.');
  if (labels.length < 2) return wrong('is not a full DNS name', name);
  const bad = labels.find((label) => !isDnsLabel(label));
  if (bad === '*') return wrong('has "*" elsewhere than as its first label', name);
  if (bad !== undefined)
    return wrong(`is not a DNS name: ${bad === '' ? 'a label is empty' : `"${bad}" is no label`}`, name);
  return undefined;
}

/** Lower-case letters, digits and "-", not at the ends; at most 63. */
export function isDnsLabel(text: string): boolean {
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text);
}
