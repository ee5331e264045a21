import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { LabCa } from './ca.ts';
import type { EndpointFile } from './endpoint-file.ts';

/** What the rehearsal's mirror serves: URL → text. Any other path is a 404. */
export type Mirror = Record<string, string>;

/** One https server on loopback that stands for every host name that `mirror` holds. */
export async function startDownloads(
  mirror: Mirror,
  ca: LabCa,
  endpoints: EndpointFile,
): Promise<{ close(): Promise<void> }> {
  const hosts = [...new Set(Object.keys(mirror).map((url) => new URL(url).host))];
  const server: Server = createServer(await ca.issue(hosts), (request, response) => {
    const text = mirror[`https://${request.headers.host}${request.url}`];
    response.writeHead(text === undefined ? 404 : 200, { 'content-type': 'text/plain' });
    response.end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  for (const host of hosts) endpoints.set(`${host}:443`, `127.0.0.1:${port}`);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
