import { badParameters } from './errors.ts';

/** How a parameter's value must look. */
export type Kind =
  | 'string'
  | 'integer'
  | 'number'
  | 'boolean'
  | 'vmid'
  | 'resource-type'
  | 'dns-name'
  | 'storage-id'
  | 'disk-size'
  | 'url'
  | 'sha-name'
  | 'hex'
  | 'urlencoded';

/** Parameters by name; "!" marks those that must be there. */
export type Spec = Record<string, Kind | `${Kind}!`>;

/** Parameters that were checked. */
export class Params {
  readonly values: ReadonlyMap<string, string>;

  constructor(values: ReadonlyMap<string, string>) {
    this.values = values;
  }

  text(name: string): string | undefined {
    return this.values.get(name);
  }

  /** One that the spec requires. */
  need(name: string): string {
    return this.values.get(name) ?? '';
  }

  integer(name: string): number | undefined {
    const value = this.values.get(name);
    return value === undefined ? undefined : Number(value);
  }

  flag(name: string, otherwise = false): boolean {
    const value = this.values.get(name);
    return value === undefined ? otherwise : isTrue(value);
  }
}

function isTrue(value: string): boolean {
  return /^(1|on|yes|true)$/i.test(value);
}

/**
 * Checks every parameter, all at once.
 * @param kindOf kinds of parameters that no list can hold (net0 … net31)
 * @throws PveError 400 with a text for each that is wrong
 */
export function verify(
  given: ReadonlyMap<string, string>,
  spec: Spec,
  kindOf: (name: string) => Kind | undefined = () => undefined,
): Params {
  const errors: Record<string, string> = {};
  for (const [name, value] of given) {
    const kind = (spec[name]?.replace('!', '') as Kind | undefined) ?? kindOf(name);
    if (!kind) errors[name] = 'property is not defined in schema and the schema does not allow additional properties';
    else {
      const problem = problemOf(kind, value);
      if (problem) errors[name] = problem;
    }
  }
  for (const [name, kind] of Object.entries(spec))
    if (kind.endsWith('!') && !given.has(name)) errors[name] = 'property is missing and it is not optional';
  if (Object.keys(errors).length > 0) throw badParameters(errors);
  return new Params(given);
}

const DNS_NAME = /^([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?\.)*[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?$/;

function problemOf(kind: Kind, value: string): string | undefined {
  const typed = (type: string): string => `type check ('${type}') failed - got '${value}'`;
  const pattern = (matches: boolean): string | undefined =>
    matches ? undefined : 'value does not match the regex pattern';
  switch (kind) {
    case 'string':
      return undefined;
    case 'integer':
      return /^[+-]?\d+$/.test(value) ? undefined : typed('integer');
    case 'number':
      return /^[+-]?\d+(\.\d+)?$/.test(value) ? undefined : typed('number');
    case 'boolean':
      return /^(1|0|on|off|yes|no|true|false)$/i.test(value) ? undefined : typed('boolean');
    case 'vmid':
      if (!/^\d+$/.test(value)) return typed('integer');
      if (Number(value) < 100) return 'value must have a minimum value of 100';
      return Number(value) > 999_999_999 ? 'value must have a maximum value of 999999999' : undefined;
    case 'resource-type':
      return ['vm', 'storage', 'node', 'sdn'].includes(value)
        ? undefined
        : `value '${value}' does not have a value in the enumeration 'vm, storage, node, sdn'`;
    case 'dns-name':
      return DNS_NAME.test(value) ? undefined : 'invalid format - value does not look like a valid DNS name';
    case 'storage-id':
      return /^[a-z][a-z0-9\-_.]*[a-z0-9]$/i.test(value)
        ? undefined
        : `invalid format - storage ID '${value}' contains illegal characters`;
    case 'disk-size':
      return pattern(/^\+?\d+(\.\d+)?[KMGT]?$/.test(value));
    case 'url':
      return pattern(/^https?:\/\/\S+$/.test(value));
    case 'sha-name':
      return /^(md5|sha1|sha224|sha256|sha384|sha512)$/.test(value)
        ? undefined
        : `value '${value}' does not have a value in the enumeration 'md5, sha1, sha224, sha256, sha384, sha512'`;
    case 'hex':
      return pattern(/^[0-9a-fA-F]+$/.test(value));
    case 'urlencoded':
      return /^[-%a-zA-Z0-9_.!~*'()]*$/.test(value)
        ? undefined
        : `invalid format - invalid urlencoded string: ${value}`;
  }
}
