import { parseAllDocuments } from 'yaml';
import { isMap } from '../loose.ts';
import type { KubeObject } from '../step.ts';

/**
 * The objects of a YAML file with any number of documents. Lists are spread; what is no object of a cluster
 * (Helm values, a Kustomization without a name) is left out.
 * @returns `problem` says where the file does not parse
 */
export function objectsOf(text: string): { objects: KubeObject[]; problem?: string } {
  const documents = parseAllDocuments(text);
  if ('empty' in documents) return { objects: [] };
  const [wrong] = documents.flatMap((document) => document.errors);
  if (wrong) return { objects: [], problem: wrong.message.split('\n')[0]?.replace(/:$/, '') };
  try {
    const values: unknown[] = documents.map((document) => document.toJS({ maxAliasCount: 100 }));
    return { objects: values.flatMap((value) => (isList(value) ? value.items : [value])).filter(isKubeObject) };
  } catch (error) {
    return { objects: [], problem: error instanceof Error ? error.message : String(error) };
  }
}

function isList(value: unknown): value is { items: unknown[] } {
  return isMap(value) && value.kind === 'List' && Array.isArray(value.items);
}

function isKubeObject(value: unknown): value is KubeObject {
  return (
    isMap(value) &&
    typeof value.apiVersion === 'string' &&
    typeof value.kind === 'string' &&
    isMap(value.metadata) &&
    typeof value.metadata.name === 'string'
  );
}
