import { type Document, isMap, isSeq, parseDocument, type YAMLMap, type YAMLSeq } from 'yaml';
import { UsageError } from '../errors.ts';
import { dig, mapsIn, textOf } from '../loose.ts';

/** Our cluster, user and context, all by one name. */
export type OwnKubeconfig = { name: string; cluster: unknown; user: unknown };
export type MergeOptions = { file: string; use: boolean; force: boolean };

const LISTS = { clusters: 'cluster', users: 'user', contexts: 'context' } as const;
type List = keyof typeof LISTS;

/** What install-k3s has left in .state, taken apart. @throws UsageError when it is something else */
export function ownKubeconfig(text: string, file: string): OwnKubeconfig {
  const document = readDocument(text, file);
  const value: unknown = document.toJS();
  const [cluster] = mapsIn(dig(value, 'clusters'));
  const [user] = mapsIn(dig(value, 'users'));
  const name = textOf(cluster?.name);
  if (!name || user?.name !== name || !dig(cluster, 'cluster', 'server'))
    throw new UsageError(`${file} is not as install-k3s writes it`, { fix: 'delete it, and run install-k3s' });
  return { name, cluster: cluster?.cluster, user: user?.user };
}

/**
 * A kubeconfig with our entries in it; everything else, comments and order included, is as it was. The same text when
 * they are there already.
 * @param text the file as it is; undefined: there is none
 * @throws UsageError for a file that cannot be read, or entries by our name that are another's
 */
export function mergeKubeconfig(text: string | undefined, own: OwnKubeconfig, options: MergeOptions): string {
  const before = text?.trim() ? text : 'apiVersion: v1\nkind: Config\n';
  const document = readDocument(before, options.file);
  const lists = listsOf(document, options.file);
  if (!options.force) refuseForeign(document.toJS(), own, options.file);
  const { name } = own;
  const entries: Record<List, unknown> = {
    clusters: own.cluster,
    users: own.user,
    contexts: { cluster: name, user: name },
  };
  let changed = !text?.trim();
  for (const [list, key] of Object.entries(LISTS) as [List, string][]) {
    const entry = lists(list).items.find((item): item is YAMLMap => isMap(item) && item.get('name') === name);
    const is: unknown = entry ? dig(entry.toJS(document), key) : undefined;
    // A namespace that a person chose for the context stays.
    const kept = list === 'contexts' && !options.force ? { ...(is as object | undefined) } : {};
    const wanted = { ...kept, ...(entries[list] as object) };
    if (entry && same(is, wanted)) continue;
    changed = true;
    if (entry) entry.set(key, document.createNode(wanted));
    else
      lists(list).add(document.createNode(list === 'contexts' ? { context: wanted, name } : { name, [key]: wanted }));
  }
  const current = textOf(document.get('current-context'));
  if (current !== name && (options.use || current === undefined)) {
    document.set('current-context', name);
    changed = true;
  }
  if (!changed) return before;
  // As the file is written so far: kubectl does not indent lists.
  const after = document.toString({
    ...{ lineWidth: 0, indentSeq: !/^- /m.test(before), flowCollectionPadding: !/\{[^\s}]/.test(before) },
  });
  if (!same(without(parseDocument(before).toJS(), name), without(parseDocument(after).toJS(), name)))
    throw new Error(`${options.file}: merged, other entries would change`);
  return after;
}

function readDocument(text: string, file: string): Document {
  const document = parseDocument(text);
  const [problem] = document.errors;
  if (problem) {
    const [{ line, col } = { line: 1, col: 1 }] = problem.linePos ?? [];
    throw new UsageError(`${file}:${line}:${col}: it is no YAML: ${problem.message.split(/ at line|\n/)[0]}`, {
      fix: 'correct it; it was not touched',
    });
  }
  if (document.contents !== null && !isMap(document.contents))
    throw new UsageError(`${file}:1:1: it is no kubeconfig: it must be a mapping`, {
      fix: 'correct it, or give --into another file; it was not touched',
    });
  return document;
}

/** The lists of a kubeconfig, made where they are missing; `clusters: null` is as good as none. */
function listsOf(document: Document, file: string): (list: List) => YAMLSeq {
  return (list) => {
    const found: unknown = document.get(list);
    if (isSeq(found)) return found;
    if (found !== undefined && found !== null)
      throw new UsageError(`${file}: ${list} is no list`, { fix: 'correct it; it was not touched' });
    const made = document.createNode([]) as YAMLSeq;
    document.set(list, made);
    return made;
  };
}

/**
 * Entries by our name that are not ours: a cluster with another server and another CA, a context that leads elsewhere,
 * a user that another's context uses, and a cluster or a user that differs where no context of ours vouches for it.
 */
function refuseForeign(value: unknown, { name, cluster, user }: OwnKubeconfig, file: string): void {
  const named = (list: List): unknown => mapsIn(dig(value, list)).find((entry) => entry.name === name);
  const refuse = (what: string): never => {
    throw new UsageError(`${file}: ${what}`, {
      fix: 'rename it there, or give --into another file; --force replaces it',
    });
  };
  const there = dig(named('clusters'), 'cluster');
  const of = (one: unknown, key: string): unknown => dig(one, key);
  const isOurs = ['server', 'certificate-authority-data'].some((key) => of(there, key) === of(cluster, key));
  if (there && !isOurs)
    refuse(`the cluster "${name}" there is ${of(there, 'server')}, and ours is ${of(cluster, 'server')}`);
  const context = dig(named('contexts'), 'context');
  if (context && (dig(context, 'cluster') !== name || dig(context, 'user') !== name))
    refuse(
      `the context "${name}" there is of the cluster "${dig(context, 'cluster')}" and the user "${dig(context, 'user')}"`,
    );
  const other = mapsIn(dig(value, 'contexts')).find(
    (one) => dig(one, 'context', 'user') === name && dig(one, 'context', 'cluster') !== name,
  );
  if (other) refuse(`the user "${name}" there is that of the context "${other.name}"`);
  if (context) return;
  for (const [list, own] of [
    ['clusters', cluster],
    ['users', user],
  ] as const) {
    const found = dig(named(list), LISTS[list]);
    if (found !== undefined && !same(found, own))
      throw new UsageError(
        `${file}: the ${LISTS[list]} "${name}" there is not ours as it is now, and no context "${name}" says whose it is`,
        {
          fix: `if you do not need it, \`kubectl config delete-${LISTS[list]} ${name}\`, and run this again; else rename it there, or give --into another file; --force replaces it`,
        },
      );
  }
}

/** A kubeconfig without what is ours, for comparison. */
function without(value: unknown, name: string): unknown {
  const { 'current-context': _current, ...rest } = (value ?? {}) as Record<string, unknown>;
  for (const list of Object.keys(LISTS)) {
    const others = mapsIn(rest[list]).filter((entry) => entry.name !== name);
    if (others.length > 0) rest[list] = others;
    else delete rest[list];
  }
  return rest;
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => [key, sorted(one)]),
  );
}
