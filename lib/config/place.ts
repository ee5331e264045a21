import { type Document, isMap, isNode, isScalar } from 'yaml';

type Path = readonly (string | number)[];

/** A path as a person writes it: `k3s.nodes[2].labels["nvidia.com/gpu.present"]`. */
export function pathText(path: Path): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    if (!/^[\w-]+$/.test(part)) return `${text}[${JSON.stringify(part)}]`;
    return text ? `${text}.${part}` : part;
  }, '');
}

/** Where in the text a key's value (or, `atKey`, the key itself) stands; for a key that is missing, where its parent does. */
export function offsetOf(document: Document.Parsed, { path = [], atKey }: { path?: Path; atKey?: boolean }): number {
  if (atKey) {
    const key = keyOffset(document, path);
    if (key !== undefined) return key;
  }
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return document.contents?.range?.[0] ?? 0;
}

function keyOffset(document: Document.Parsed, path: Path): number | undefined {
  const parent = path.length > 1 ? document.getIn(path.slice(0, -1), true) : document.contents;
  if (!isMap(parent)) return undefined;
  const pair = parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1));
  return pair && isScalar(pair.key) ? pair.key.range?.[0] : undefined;
}
