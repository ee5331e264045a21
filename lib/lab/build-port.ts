import { type AddressInfo, connect, createServer } from 'node:net';
import type { EndpointFile } from './endpoint-file.ts';

/**
 * Where Packer reaches the VM that it builds. Its port has to be known before the VM is there, so this one stands
 * in front of whichever is being built.
 */
export async function startBuildPort(endpoints: EndpointFile): Promise<{ lead(port: number): void; close(): void }> {
  let target: number | undefined;
  const server = createServer((socket) => {
    if (target === undefined) return socket.destroy();
    const guest = connect(target, '127.0.0.1');
    const end = (): void => {
      socket.destroy();
      guest.destroy();
    };
    socket.on('error', end);
    guest.on('error', end);
    socket.pipe(guest).pipe(socket);
    return undefined;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endpoints.set('template-build:22', `127.0.0.1:${(server.address() as AddressInfo).port}`);
  return {
    lead: (port) => {
      target = port;
    },
    close: () => void server.close(),
  };
}
