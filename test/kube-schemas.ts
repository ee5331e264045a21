import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Ajv, type ValidateFunction } from 'ajv';
import ajvFormats from 'ajv-formats';
import { parseAllDocuments } from 'yaml';
import { loadConfig } from '../lib/config/load.ts';
import { dig, isMap, type Loose, mapsIn, textOf } from '../lib/loose.ts';
import { TOOLKIT } from '../lib/paths.ts';
import type { KubeObject } from '../lib/step.ts';

/**
 * The schemas of the Kubernetes API and of the CustomResourceDefinitions that our charts and K3s bring, in the versions
 * that homelab.yaml pins: read out of their authors' Go modules when a test runs, never copied into this repository.
 */
const { config } = loadConfig(join(TOOLKIT, 'homelab.yaml'));
export const KUBERNETES = config.k3s.version.replace(/\+.*/, '');
/** What K3s brings: Traefik as of v1.36.5, helm-controller as of v1.36.4. */
const BUNDLED = { traefik: 'v3.7.13', helmController: 'v0.17.7' };

/** Modules, and where in them the definitions are. */
const DEFINITIONS: Record<string, string> = {
  [`go.universe.tf/metallb@v${config.metallb.version.replace(/^v/, '')}`]: 'config/crd/bases',
  [`github.com/cert-manager/cert-manager@${config.ingress.cert_manager}`]: 'deploy/crds',
  [`github.com/traefik/traefik/v3@${BUNDLED.traefik}`]:
    'docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml',
  [`github.com/k3s-io/helm-controller@${BUNDLED.helmController}`]: 'pkg/crds/yaml/generated',
};
const API = { module: `k8s.io/kubernetes@${KUBERNETES}`, file: 'api/openapi-spec/swagger.json' };

type Folders = Record<string, string>;

/** Folders of the modules, downloaded where Go has not got them yet; or why there are none. */
export async function moduleFolders(): Promise<Folders | string> {
  const modules = [...Object.keys(DEFINITIONS), API.module];
  const env = { ...process.env, GOFLAGS: '-mod=mod', GOWORK: 'off', GO111MODULE: 'on' };
  try {
    // In a folder that is no module's: its go.mod would have a say.
    const options = { cwd: tmpdir(), env, timeout: 120_000, maxBuffer: 1 << 24 };
    const { stdout } = await promisify(execFile)('go', ['mod', 'download', '-json', ...modules], options);
    const found = mapsIn(JSON.parse(`[${stdout.replaceAll(/^\}\n\{/gm, '},{')}]`));
    return Object.fromEntries(found.map((each) => [`${each.Path}@${each.Version}`, String(each.Dir)]));
  } catch (error) {
    const { code, stderr, stdout } = error as { code?: unknown; stderr?: string; stdout?: string };
    if (code === 'ENOENT') return 'there is no Go on this machine, whose module proxy the schemas come from';
    return `the Go modules with the schemas cannot be had: ${`${stdout ?? ''}${stderr ?? ''}`.trim().slice(0, 500)}`;
  }
}

/** The CustomResourceDefinitions themselves; all that the modules have, or those of the given kinds. */
export function definitions(folders: Folders, kinds?: readonly string[]): KubeObject[] {
  return Object.entries(DEFINITIONS).flatMap(([module, place]) => {
    const path = join(folders[module]!, place);
    const files = statSync(path).isDirectory()
      ? readdirSync(path).flatMap((name) => (name.endsWith('.yaml') ? [join(path, name)] : []))
      : [path];
    return (
      files
        .flatMap((file) => readFileSync(file, 'utf8').split(/^---$/m))
        // Before they are parsed: together they are some megabytes.
        .filter((text) => kinds?.some((kind) => text.includes(`\n    kind: ${kind}\n`)) ?? text.trim() !== '')
        .flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as KubeObject))
        .filter((each) => each?.kind === 'CustomResourceDefinition')
    );
  });
}

/** What is wrong with an object, a line each: "/spec/adresses: is no field". */
export type Check = (object: KubeObject) => string[];

/** Checks by the API's own schemas, in which a field that is not declared is refused. Rules in CEL are left to the API server. */
export function schemaCheck(folders: Folders, kinds: readonly string[]): Check {
  const ajv = new Ajv({ allErrors: true, strict: false, unicodeRegExp: false });
  ajvFormats.default(ajv);
  const api = JSON.parse(readFileSync(join(folders[API.module]!, API.file), 'utf8')) as { definitions: Loose };
  const closedApi = Object.fromEntries(
    Object.entries(api.definitions).map(([name, schema]) => [name, closed(schema as Loose)]),
  );
  ajv.addSchema({ $id: 'kubernetes', definitions: closedApi });
  const compiled = new Map<string, ValidateFunction>();
  const add = (apiVersion: string, kind: string, schema: Loose): void =>
    void compiled.set(`${apiVersion} ${kind}`, ajv.compile(schema));

  for (const [name, schema] of Object.entries(api.definitions))
    for (const { group, version, kind } of mapsIn(dig(schema, 'x-kubernetes-group-version-kind')))
      if (kinds.includes(String(kind)) && !/List$/.test(name))
        add([group, version].filter(Boolean).join('/'), String(kind), { $ref: `kubernetes#/definitions/${name}` });
  for (const { spec } of definitions(folders, kinds))
    for (const version of mapsIn(dig(spec, 'versions')))
      add(
        `${dig(spec, 'group')}/${version.name}`,
        textOf(dig(spec, 'names', 'kind')) ?? '',
        withMetadata(closed(dig(version, 'schema', 'openAPIV3Schema') as Loose)),
      );

  return (object) => {
    const validate = compiled.get(`${object.apiVersion} ${object.kind}`);
    if (!validate) return [`no schema of ${object.apiVersion} ${object.kind}`];
    if (validate(object)) return [];
    return (validate.errors ?? []).map(({ instancePath, message, params }) =>
      'additionalProperty' in params
        ? `${instancePath}/${params.additionalProperty}: is no field`
        : `${instancePath}: ${message}`,
    );
  };
}

/** A definition says of `metadata` only that it is an object: it is the one of every kind. */
function withMetadata(schema: Loose): Loose {
  const metadata = { $ref: 'kubernetes#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' };
  return { ...schema, properties: { ...(schema.properties as Loose), metadata } };
}

/** A schema of OpenAPI as one of JSON Schema, in which an object has no fields but those that are declared. */
function closed(schema: Loose): Loose {
  const inEach = (value: unknown): Loose =>
    Object.fromEntries(Object.entries(value as Loose).map(([key, each]) => [key, closed(each as Loose)]));
  if (schema['x-kubernetes-int-or-string'] || schema.format === 'int-or-string') {
    const { anyOf: _, format: _format, ...rest } = schema;
    return { ...rest, type: ['integer', 'string'] };
  }
  const { properties, items, additionalProperties, $ref } = schema;
  const open = properties === undefined || schema['x-kubernetes-preserve-unknown-fields'] === true;
  return {
    ...schema,
    ...(typeof $ref === 'string' && { $ref: `kubernetes${$ref}` }),
    ...(isMap(properties) && { properties: inEach(properties) }),
    ...(isMap(items) && { items: closed(items) }),
    ...(isMap(additionalProperties)
      ? { additionalProperties: closed(additionalProperties) }
      : !open && { additionalProperties: false }),
  };
}
