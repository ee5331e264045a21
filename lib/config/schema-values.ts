import { z } from 'zod';

/** Values of homelab.yaml that several parts of it use: what each must look like, and what is said of others. */

const DNS_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
export const label = z
  .string()
  .regex(DNS_LABEL, 'is not a host name; use lower-case letters, digits and "-" (at most 63)');
export const domain = z
  .string()
  .max(253)
  .regex(/^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'is not a DNS name');
export const absolutePath = z.string().regex(/^\/[^\0\n\r]*$/, 'must be an absolute path');
export const exportRef = z.string().regex(/^[^/]+\/[^/]+$/, 'must be NAS/EXPORT, such as unas/K3sStorage');
export const folder = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._/-]*$/, 'must be a relative path')
  .refine((p) => !p.split('/').includes('..'), 'must not contain ".."');
export const schedule = z.string().regex(/^\S+ \S+ \S+ \S+ \S+$/, 'must be five cron fields');
