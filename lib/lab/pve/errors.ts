/** An error as the API answers it: status, text, and errors by parameter. */
export class PveError extends Error {
  readonly status: number;
  readonly errors?: Record<string, string>;
  /** How it is said: by the API in JSON; by the web server as bare text without a type; as a reason phrase alone. */
  readonly form: 'json' | 'text' | 'empty' | 'html';

  constructor(status: number, message: string, errors?: Record<string, string>, form: PveError['form'] = 'json') {
    super(message);
    this.status = status;
    this.errors = errors;
    this.form = form;
  }
}

/** What Perl's `die` becomes: 500. */
export function died(message: string): PveError {
  return new PveError(500, message);
}

export function badParameters(errors: Record<string, string>): PveError {
  return new PveError(400, 'Parameter verification failed.', errors);
}

/** What the web server itself refuses. */
export function refused(status: number, message: string): PveError {
  return new PveError(status, message, undefined, 'text');
}

/** Refused before the API is asked: held back, and without a body. */
export function unauthorized(status: 401 | 403, message: string): PveError {
  return new PveError(status, message, undefined, 'empty');
}

/** @param privileges the first that is missing, or all of which one would have been enough */
export function denied(path: string, privileges: readonly string[]): PveError {
  return new PveError(403, `Permission check failed (${path}, ${privileges.join('|')})`);
}

/** Where one of several checks would have been enough, Proxmox names none of them. */
export function deniedWithoutReason(): PveError {
  return new PveError(403, 'Permission check failed');
}

/** What only root@pam may use. */
export function rootOnly(parameter: string): PveError {
  return badParameters({ [parameter]: 'Only root may use this option.' });
}
