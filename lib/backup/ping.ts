import { type Notice, noticeText } from '../render/backup-notice.ts';

/** A request that a monitor takes for a sign of life: by POST with a body, by GET without. */
export type Ping = { url: string; body?: string };

/** Characters of a body: healthchecks.io keeps ten thousand. */
const BODY = 10_000;
/** Characters of Uptime Kuma's message, which is a line in a table. */
const MESSAGE = 200;
/** Milliseconds; Uptime Kuma refuses a beat that says more. */
const LONGEST = 86_400_000;

/**
 * How a monitor is told. Uptime Kuma's push URLs have a form of their own, and are known by their path.
 * @returns undefined where the secret is no URL; 'untold' for what the monitor has no word for
 */
export function pingOf(base: string, notice: Notice, redact: (text: string) => string): Ping | 'untold' | undefined {
  if (!URL.canParse(base)) return undefined;
  const url = new URL(base);
  if (!/^https?:$/.test(url.protocol)) return undefined;
  url.pathname = url.pathname.replace(/\/+$/, '');
  return /\/api\/push\/[^/]+$/.test(url.pathname) ? push(url, notice, redact) : healthcheck(url, notice, redact);
}

/** healthchecks.io's way: …/start, … and …/fail, with the run's id, and for a body what a person would read. */
function healthcheck(url: URL, notice: Notice, redact: (text: string) => string): Ping {
  url.pathname += { start: '/start', success: '', failure: '/fail' }[notice.event];
  url.searchParams.set('rid', notice.run);
  return { url: url.href, body: redact(noticeText(notice)).slice(0, BODY) };
}

/** Uptime Kuma's way: one GET at the end (version 1 knows no POST), over the query of the URL as it is copied there. */
function push(url: URL, { event, message, seconds }: Notice, redact: (text: string) => string): Ping | 'untold' {
  if (event === 'start') return 'untold';
  const line = [...redact(message).replaceAll(/\s+/g, ' ')];
  const milliseconds = Math.round((seconds ?? 0) * 1000);
  url.searchParams.set('status', event === 'success' ? 'up' : 'down');
  url.searchParams.set('msg', line.length > MESSAGE ? `${line.slice(0, MESSAGE - 1).join('')}…` : line.join(''));
  url.searchParams.set('ping', milliseconds > LONGEST ? '' : String(milliseconds));
  return { url: url.href };
}
