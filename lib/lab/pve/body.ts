import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import busboy from 'busboy';
import { refused } from './errors.ts';
import type { Upload } from './router.ts';

export type Body = { params: Map<string, string>; upload?: Upload };

/** Forms and uploads larger than this are not what this API takes. */
const FORM_BYTES = 512 * 1024;

/** Parameters from the query and from the body: a form, JSON, or multipart with one file, which is measured and dropped. */
export async function readBody(request: IncomingMessage, url: URL): Promise<Body> {
  const params = new Map(url.searchParams);
  const type = String(request.headers['content-type'] ?? '').split(';')[0];
  if (type === 'multipart/form-data') {
    const upload = await readMultipart(request, params);
    return { params, upload };
  }
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > FORM_BYTES) throw refused(501, 'for data too large');
  }
  if (text === '') return { params };
  if (request.method === 'GET' || request.method === 'DELETE')
    throw refused(501, `Unexpected content for method '${request.method}'`);
  if (type === 'application/json') {
    for (const [name, value] of Object.entries(JSON.parse(text) as Record<string, unknown>))
      params.set(name, value === true ? '1' : value === false ? '0' : String(value));
  } else for (const [name, value] of new URLSearchParams(text)) params.set(name, value);
  return { params };
}

function readMultipart(request: IncomingMessage, params: Map<string, string>): Promise<Upload | undefined> {
  return new Promise((resolve, reject) => {
    let upload: Upload | undefined;
    const parser = busboy({ headers: request.headers });
    parser.on('field', (name, value) => params.set(name, value));
    parser.on('file', (field, stream, { filename = '' }) => {
      const hash = createHash('sha256');
      let bytes = 0;
      stream.on('data', (chunk: Buffer) => {
        hash.update(chunk);
        bytes += chunk.length;
      });
      stream.on('end', () => {
        upload = { field, filename, bytes, sha256: hash.digest('hex') };
      });
    });
    parser.on('close', () => resolve(upload));
    parser.on('error', reject);
    request.pipe(parser);
  });
}
