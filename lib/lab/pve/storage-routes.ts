import type { Cluster } from './cluster.ts';
import { badParameters, died } from './errors.ts';
import { parseSize } from './properties.ts';
import type { Call, Need, Route } from './router.ts';
import { checkAccess, mayAccess, visible } from './storage-access.ts';
import type { Volume } from './volumes.ts';

const AUDIT: Need[] = [{ at: '/storage/{storage}', have: ['Datastore.Audit', 'Datastore.AllocateSpace'], any: true }];
/** What a download counts as: nothing is fetched. */
const DOWNLOAD_BYTES = 3 * 2 ** 30;
const DIGITS: Record<string, number> = { md5: 32, sha1: 40, sha224: 56, sha256: 64, sha384: 96, sha512: 128 };

export const storageRoutes: Route[] = [
  {
    method: 'GET',
    path: '/nodes/{node}/storage',
    spec: { content: 'string', enabled: 'boolean', storage: 'storage-id', target: 'string', format: 'boolean' },
    handle: ({ cluster, who, path, params }) =>
      visible(cluster, who)
        .filter(({ content }) =>
          (params.text('content') ?? '').split(',').every((c) => c === '' || content.includes(c)),
        )
        .map(({ name }) => ({ storage: name, ...status(cluster, name, path.node ?? '') })),
  },
  {
    method: 'GET',
    path: '/nodes/{node}/storage/{storage}/status',
    needs: AUDIT,
    handle: ({ cluster, path }) => status(cluster, path.storage ?? '', path.node ?? ''),
  },
  {
    method: 'GET',
    path: '/nodes/{node}/storage/{storage}/content',
    needs: AUDIT,
    spec: { content: 'string', vmid: 'vmid' },
    handle: ({ cluster, who, path, params }) => {
      cluster.volumes.storage(path.storage ?? '');
      return cluster.volumes
        .list(path.storage ?? '', path.node ?? '')
        .filter(({ content }) => content === (params.text('content') ?? content))
        .filter(({ vmid }) => params.integer('vmid') === undefined || vmid === params.integer('vmid'))
        .filter((volume) => mayAccess(cluster, who, volume))
        .map((volume) => ({ volid: volume.volid, content: volume.content, ...shown(volume) }));
    },
  },
  {
    method: 'POST',
    path: '/nodes/{node}/storage/{storage}/content',
    needs: [{ at: '/storage/{storage}', have: ['Datastore.AllocateSpace'] }],
    spec: { filename: 'string!', size: 'disk-size!', vmid: 'vmid!', format: 'string' },
    handle: ({ cluster, path, params }) => {
      const [storage = '', node = ''] = [path.storage, path.node];
      const size = params.need('size');
      // A number alone is in KiB.
      const bytes = parseSize(size) ?? 0;
      const volume = cluster.volumes.allocate(
        storage,
        node,
        params.integer('vmid') ?? 0,
        /\d$/.test(size) ? bytes * 1024 : bytes,
      );
      const wanted = `${storage}:${params.need('filename')}`;
      if (volume.volid !== wanted && cluster.volumes.find(wanted, node)) {
        cluster.volumes.free(volume);
        throw died(`disk image '${wanted}' already exists`);
      }
      volume.volid = wanted;
      return wanted;
    },
  },
  {
    method: 'GET',
    path: '/nodes/{node}/storage/{storage}/content/{volume}',
    handle: (call) => {
      const volume = volumeOf(call);
      checkAccess(call.cluster, call.who, volume);
      return { path: `/dev/${volume.volid.replace(':', '/')}`, used: volume.bytes, ...shown(volume) };
    },
  },
  {
    method: 'DELETE',
    path: '/nodes/{node}/storage/{storage}/content/{volume}',
    needs: [{ at: '/storage/{storage}', have: ['Datastore.Allocate'] }],
    spec: { delay: 'integer' },
    handle: (call) => {
      const { cluster, path, who } = call;
      const volume = volumeOf(call);
      return cluster.startTask(
        path.node ?? '',
        'imgdel',
        `${volume.vmid ?? ''}@${volume.storage}`,
        who.id,
        async () => {
          await cluster.sleep(cluster.latency.task);
          cluster.volumes.free(volume);
        },
      );
    },
  },
  {
    method: 'POST',
    path: '/nodes/{node}/storage/{storage}/upload',
    needs: [{ at: '/storage/{storage}', have: ['Datastore.AllocateTemplate'] }],
    spec: {
      content: 'string!',
      filename: 'string',
      checksum: 'hex',
      'checksum-algorithm': 'sha-name',
      tmpfilename: 'string',
    },
    handle: (call) => {
      const { cluster, params, path, upload, who } = call;
      if (!upload) throw badParameters({ filename: 'property is missing and it is not optional' });
      checkContent(call);
      const filename = plainName(upload.filename);
      const checksum = params.text('checksum');
      return cluster.startTask(path.node ?? '', 'imgcopy', '', who.id, async () => {
        await cluster.sleep(cluster.latency.task);
        if (checksum && params.text('checksum-algorithm') === 'sha256' && checksum !== upload.sha256)
          throw died(`checksum mismatch: got '${upload.sha256}' != expect '${checksum}'`);
        store(call, filename, upload.bytes);
      });
    },
  },
  {
    method: 'POST',
    path: '/nodes/{node}/storage/{storage}/download-url',
    needs: [
      { at: '/storage/{storage}', have: ['Datastore.AllocateTemplate'] },
      {
        or: [
          { at: '/', have: ['Sys.Audit', 'Sys.Modify'] },
          { at: '/nodes/{node}', have: ['Sys.AccessNetwork'] },
        ],
      },
    ],
    spec: {
      url: 'url!',
      content: 'string!',
      filename: 'string!',
      checksum: 'hex',
      'checksum-algorithm': 'sha-name',
      compression: 'string',
      'verify-certificates': 'boolean',
    },
    handle: (call) => {
      const { cluster, params, path, who } = call;
      checkContent(call);
      const [checksum, algorithm] = [params.text('checksum'), params.text('checksum-algorithm')];
      if (checksum && !algorithm)
        throw badParameters({ checksum: "missing property - 'checksum' requires this property 'checksum-algorithm'" });
      if (algorithm && !checksum)
        throw badParameters({
          'checksum-algorithm': "missing property - 'checksum-algorithm' requires this property 'checksum'",
        });
      const filename = plainName(params.need('filename'));
      return cluster.startTask(path.node ?? '', 'download', filename, who.id, async (log) => {
        log(`downloading ${params.need('url')} to /var/lib/vz/template/iso/${filename}`);
        await cluster.sleep(cluster.latency.task);
        if (checksum) {
          log('calculating checksum...');
          const digits = DIGITS[algorithm ?? ''] ?? 0;
          const isOther = cluster.faults.strikeTask('bad-download', 'download') !== undefined;
          if (isOther || checksum.length !== digits)
            throw died(`checksum mismatch: got '${'0'.repeat(digits)}' != expect '${checksum}'`);
        }
        store(call, filename, DOWNLOAD_BYTES);
        log(`download of '${params.need('url')}' finished`);
      });
    },
  },
];

export function status(cluster: Cluster, name: string, node: string) {
  const spec = cluster.volumes.storage(name);
  const space = cluster.volumes.space(name, node);
  return {
    type: cluster.volumes.typeOf(spec),
    content: spec.content.join(','),
    shared: spec.shared ? 1 : 0,
    enabled: 1,
    active: 1,
    ...space,
  };
}

function shown({ format, bytes, vmid }: Volume) {
  return { format, size: bytes, ...(vmid !== undefined && { vmid }) };
}

function volumeOf({ cluster, path }: Call): Volume {
  const named = path.volume ?? '';
  const volid = named.includes(':') ? named : `${path.storage}:${named}`;
  const volume = cluster.volumes.find(volid, path.node ?? '');
  if (!volume) throw died(`volume '${volid}' does not exist`);
  return volume;
}

function checkContent({ cluster, params, path }: Call): void {
  const content = params.need('content');
  if (!['iso', 'vztmpl', 'import', 'snippets'].includes(content))
    throw badParameters({
      content: `value '${content}' does not have a value in the enumeration 'iso, vztmpl, import'`,
    });
  if (!cluster.volumes.storage(path.storage ?? '').content.includes(content))
    throw died(`storage '${path.storage}' is not configured for content-type '${content}'`);
}

function store({ cluster, params, path }: Call, filename: string, bytes: number): void {
  const [storage = '', node = ''] = [path.storage, path.node];
  if (bytes > cluster.volumes.space(storage, node).avail) throw died('No space left on device');
  const volid = `${storage}:${params.need('content')}/${filename}`;
  const old = cluster.volumes.find(volid, node);
  if (old) cluster.volumes.free(old);
  cluster.volumes.add({ volid, storage, node, content: params.need('content'), format: 'iso', bytes });
}

/** As Proxmox normalises it: no folders, no odd characters. */
function plainName(filename: string): string {
  const name = (filename.split(/[/\\]/).at(-1) ?? '').replace(/[^-a-zA-Z0-9_.]/g, '_');
  if (!/\.(iso|img|tar\.\w+|qcow2|raw|ova|yaml|yml)$/i.test(name))
    throw badParameters({ filename: 'wrong file extension' });
  return name;
}
