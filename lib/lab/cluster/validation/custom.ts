import { Address4 } from 'ip-address';
import { z } from 'zod';
import { dnsSubdomain, loose, texts, withSpec } from './forms.ts';

const secretKey = z.strictObject({ name: z.string().min(1), key: z.string().optional() });

const issuerSpec = z
  .strictObject({
    acme: z
      .strictObject({
        email: z.string().optional(),
        server: z.url(),
        preferredChain: z.string().optional(),
        privateKeySecretRef: secretKey,
        profile: z.string().optional(),
        skipTLSVerify: z.boolean().optional(),
        caBundle: z.string().optional(),
        disableAccountKeyGeneration: z.boolean().optional(),
        enableDurationFeature: z.boolean().optional(),
        externalAccountBinding: loose.optional(),
        solvers: z
          .array(
            z.strictObject({
              selector: z
                .strictObject({
                  dnsNames: z.array(z.string()).optional(),
                  dnsZones: z.array(z.string()).optional(),
                  matchLabels: texts.optional(),
                })
                .optional(),
              http01: loose.optional(),
              dns01: z
                .looseObject({
                  cloudflare: z
                    .strictObject({
                      apiTokenSecretRef: secretKey.optional(),
                      apiKeySecretRef: secretKey.optional(),
                      email: z.string().optional(),
                    })
                    .optional(),
                })
                .optional(),
            }),
          )
          .optional(),
      })
      .optional(),
    selfSigned: loose.optional(),
    ca: z.strictObject({ secretName: z.string(), crlDistributionPoints: z.array(z.string()).optional() }).optional(),
    vault: loose.optional(),
    venafi: loose.optional(),
  })
  .refine((spec) => Object.keys(spec).length === 1, {
    error: 'Required value: exactly one issuer type must be configured',
  });

const certificateSpec = z.looseObject({
  secretName: dnsSubdomain,
  dnsNames: z.array(z.string()).optional(),
  issuerRef: z.strictObject({ name: z.string(), kind: z.string().optional(), group: z.string().optional() }),
});

/** "10.0.0.1-10.0.0.9" or "10.0.0.0/28", both ends in order. */
const poolRange = z.string().superRefine((text, context) => {
  const ends = text.split('-').map((end) => end.trim());
  const valid = text.includes('-')
    ? ends.length === 2 && ends.every((end) => Address4.isValid(end) && !end.includes('/'))
    : text.includes('/') && Address4.isValid(text);
  if (!valid) context.addIssue({ code: 'custom', message: `invalid CIDR "${text}"` });
  else if (text.includes('-') && new Address4(ends[0] ?? '').bigInt() > new Address4(ends[1] ?? '').bigInt())
    context.addIssue({ code: 'custom', message: `invalid IP range "${text}": start IP is after the end IP` });
});

export const customSchemas: Record<string, z.ZodType> = {
  IPAddressPool: withSpec(
    z.strictObject({
      addresses: z.array(poolRange).min(1),
      autoAssign: z.boolean().optional(),
      avoidBuggyIPs: z.boolean().optional(),
      serviceAllocation: loose.optional(),
    }),
  ),
  L2Advertisement: withSpec(
    z
      .strictObject({
        ipAddressPools: z.array(z.string()).optional(),
        ipAddressPoolSelectors: z.array(loose).optional(),
        nodeSelectors: z.array(loose).optional(),
        interfaces: z.array(z.string()).optional(),
        serviceSelectors: z.array(loose).optional(),
      })
      .optional(),
  ),
  ClusterIssuer: withSpec(issuerSpec),
  Issuer: withSpec(issuerSpec),
  Certificate: withSpec(certificateSpec),
  Middleware: withSpec(
    z.looseObject({
      redirectScheme: z
        .strictObject({
          scheme: z.string().optional(),
          permanent: z.boolean().optional(),
          port: z.string().optional(),
          forcePermanentRedirect: z.boolean().optional(),
        })
        .optional(),
    }),
  ),
  HelmChart: withSpec(
    z.strictObject({
      chart: z.string().optional(),
      chartContent: z.string().optional(),
      version: z.string().optional(),
      repo: z.string().optional(),
      repoCA: z.string().optional(),
      repoCAConfigMap: loose.optional(),
      targetNamespace: z.string().optional(),
      createNamespace: z.boolean().optional(),
      takeOwnership: z.boolean().optional(),
      valuesContent: z.string().optional(),
      valuesSecrets: z.array(loose).optional(),
      set: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
      failurePolicy: z.enum(['reinstall', 'abort', 'retry']).optional(),
      timeout: z.string().optional(),
      bootstrap: z.boolean().optional(),
      backOffLimit: z.int().optional(),
      helmVersion: z.string().optional(),
      jobImage: z.string().optional(),
      insecureSkipTLSVerify: z.boolean().optional(),
      plainHTTP: z.boolean().optional(),
      authSecret: loose.optional(),
      authPassCredentials: z.boolean().optional(),
      dockerRegistrySecret: loose.optional(),
      driver: z.string().optional(),
      podSecurityContext: loose.optional(),
      securityContext: loose.optional(),
    }),
  ),
  HelmChartConfig: withSpec(
    z.strictObject({
      valuesContent: z.string().optional(),
      valuesSecrets: z.array(loose).optional(),
      failurePolicy: z.enum(['reinstall', 'abort', 'retry']).optional(),
    }),
  ),
};
