import { isIP } from 'node:net';
import { z } from 'zod';

/** Forms that many kinds share, with the API server's words. */
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

const LABEL_WORDS =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN_WORDS =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";

export const dnsLabel = z.string().max(63, 'must be no more than 63 characters').regex(LABEL, LABEL_WORDS);
export const dnsSubdomain = z
  .string()
  .max(253, 'must be no more than 253 characters')
  .regex(SUBDOMAIN, SUBDOMAIN_WORDS);
export const port = z
  .int()
  .min(1, 'must be between 1 and 65535, inclusive')
  .max(65535, 'must be between 1 and 65535, inclusive');
export const quantity = z
  .union([z.string(), z.number()])
  .refine(
    (value) => /^\d+(\.\d+)?(m|[kMGTPE]i?|Ki)?$/.test(String(value)),
    'quantities must match the regular expression of a quantity',
  );
export const texts = z.record(z.string(), z.string());
export const loose = z.looseObject({});

/** A host of an Ingress rule: a DNS name, or `*.` before one; neither an address nor a port. */
export const ingressHost = z.string().superRefine((host, context) => {
  const fail = (message: string): void => context.addIssue({ code: 'custom', message });
  if (isIP(host)) fail('must be a DNS name, not an IP address');
  else if (host.includes('*')) {
    if (!host.startsWith('*.') || !SUBDOMAIN.test(host.slice(2)))
      fail("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain");
  } else if (!SUBDOMAIN.test(host) || host.length > 253) fail(SUBDOMAIN_WORDS);
});

/** The `spec` of a kind; other fields of the object are its own. */
export function withSpec(spec: z.ZodType): z.ZodType {
  return z.strictObject({ ...head, spec, status: loose.optional() });
}

/** apiVersion, kind and metadata, which every kind has. */
export const head = {
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.strictObject({
    name: z.string(),
    namespace: z.string().optional(),
    generateName: z.string().optional(),
    labels: texts.optional(),
    annotations: texts.optional(),
    finalizers: z.array(z.string()).optional(),
    ownerReferences: z.array(loose).optional(),
    uid: z.string().optional(),
    resourceVersion: z.string().optional(),
    generation: z.number().optional(),
    creationTimestamp: z.union([z.string(), z.null()]).optional(),
    deletionTimestamp: z.string().optional(),
    managedFields: z.array(loose).optional(),
  }),
};
