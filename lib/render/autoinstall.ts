import { parseDocument } from 'yaml';

export type Autoinstall = { hostname: string; timezone: string; user: string; publicKey: string };

/**
 * The answers of Ubuntu's installer.
 * @param template templates/autoinstall/user-data.yaml, with its empty values
 * @returns the same YAML with them filled in; whatever is in a value, it stays one value
 */
export function renderAutoinstall(template: string, { hostname, timezone, user, publicKey }: Autoinstall): string {
  const document = parseDocument(template);
  const set = (path: (string | number)[], value: unknown): void => {
    if (!document.hasIn(path)) throw new Error(`templates/autoinstall/user-data.yaml has no ${path.join('.')}`);
    document.setIn(path, document.createNode(value));
  };
  set(['autoinstall', 'timezone'], timezone);
  set(['autoinstall', 'user-data', 'hostname'], hostname);
  set(['autoinstall', 'user-data', 'users', 0, 'name'], user);
  set(['autoinstall', 'user-data', 'users', 0, 'ssh_authorized_keys'], [publicKey.trim()]);
  return document.toString({ lineWidth: 0 });
}
