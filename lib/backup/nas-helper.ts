/**
 * The program of the process that touches the NAS (see nas.ts): plain JavaScript in a text, because it must also start
 * where this toolkit is one bundled file. What comes in are batches of { id, name, args }; what goes out are batches of
 * { id, value }, { id, error } and, from calls that take long and get on, { id, busy }.
 */
export const NAS_HELPER = `
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { constants } from 'node:os';
import { dirname } from 'node:path';

const absent = (error) => {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
  throw error;
};
const sync = async (path, flags) => {
  const file = await open(path, flags);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
};
const create = async (path, text) => {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
};

const calls = {
  text: (path) => readFile(path, 'utf8').catch(absent),
  bytes: async (path) => (await stat(path).catch(absent))?.size,
  exists: async (path) => (await stat(path).catch(absent)) !== undefined,
  list: async (path) => ((await readdir(path).catch(absent)) ?? []).sort(),
  // Small files, many of them: waiting for each costs less than keeping track of it.
  peek: async (folder) => {
    const text = (name) => {
      try {
        return readFileSync(folder + '/' + name);
      } catch (error) {
        return absent(error);
      }
    };
    const manifest = text('manifest.json');
    return {
      hash: manifest && createHash('sha256').update(manifest).digest('hex'),
      proof: text('verify.json')?.toString(),
      pinned: statSync(folder + '/PINNED', { throwIfNoEntry: false }) !== undefined,
    };
  },
  // Of a small file: for a list of sets, whose manifests need not travel.
  sha256: async (path) => {
    const content = await readFile(path).catch(absent);
    return content && createHash('sha256').update(content).digest('hex');
  },
  freeBytes: async (path) => {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  },
  makeFolder: (path) => mkdir(path, { mode: 0o700 }).catch((error) => {
    if (error.code !== 'EEXIST') throw error;
  }),
  rename: (from, to) => rename(from, to),
  remove: (path) => rm(path, { recursive: true, force: true }),
  create,
  replace: async (path, text, beside) => {
    try {
      await create(beside, text);
      await rename(beside, path).catch(async (error) => {
        // Over NFS a rename that succeeded may be reported as failed, when the answer was lost.
        if ((await readFile(path, 'utf8').catch(absent)) !== text) throw error;
      });
    } catch (error) {
      await rm(beside, { force: true }).catch(() => {});
      throw error;
    }
    await sync(dirname(path), 'r');
  },
  settleFile: async (path) => {
    await chmod(path, 0o600);
    await sync(path, 'r+');
  },
  settleFolder: (path) => sync(path, 'r'),
  measure: async (path, busy) => {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      hash.update(chunk);
      bytes += chunk.length;
      busy();
    }
    return { bytes, sha256: hash.digest('hex') };
  },
  copy: async (from, to, busy) => {
    const hash = createHash('sha256');
    let bytes = 0;
    const file = await open(to, 'wx', 0o600);
    try {
      for await (const chunk of createReadStream(from, { highWaterMark: 1 << 20 })) {
        hash.update(chunk);
        bytes += chunk.length;
        await file.writeFile(chunk);
        busy();
      }
      await file.sync();
    } finally {
      await file.close();
    }
    return { bytes, sha256: hash.digest('hex') };
  },
};

// Node does not know the names of all errors, such as EDQUOT.
const named = ({ code, errno, message }) => {
  const [name] = Object.entries(constants.errno).find(([, value]) => value === -errno) ?? [];
  return name && name !== code ? { code: name, message: name } : { code, message };
};

let answers = [];
const answer = (one) => {
  if (answers.length === 0) setImmediate(() => process.send(answers.splice(0)));
  answers.push(one);
};
process.on('message', (batch) => {
  for (const { id, name, args } of batch) {
    let told = Date.now();
    const busy = () => {
      if (Date.now() - told < 200) return;
      told = Date.now();
      answer({ id, busy: true });
    };
    calls[name](...args, busy).then(
      (value) => answer({ id, value }),
      (error) => answer({ id, error: named(error) }),
    );
  }
});
process.on('disconnect', () => process.exit());
`;
