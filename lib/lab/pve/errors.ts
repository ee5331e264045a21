/** An error as the API answers it: status, text, and errors by parameter. */
export class PveError extends Error {
  readonly status: number;
  readonly errors?: Record<string, string>;

  constructor(status: number, message: string, errors?: Record<string, string>) {
    super(message);
    this.status = status;
    this.errors = errors;
  }
}

/** What Perl's `die` becomes: 500. */
export function died(message: string): PveError {
  return new PveError(500, message);
}

export function badParameters(errors: Record<string, string>): PveError {
  return new PveError(400, 'Parameter verification failed.', errors);
}

/** `any`: one of the privileges would have been enough. */
export function denied(path: string, privileges: readonly string[], any: boolean): PveError {
  return new PveError(403, `Permission check failed (${path}, ${privileges.join(any ? '|' : ', ')})`);
}
