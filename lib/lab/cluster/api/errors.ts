/** An error that the emulated API server answers: its reason ("NotFound") and its words. */
export class ApiError extends Error {
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.name = 'ApiError';
    this.reason = reason;
  }
}

export function notFound(resource: string, name: string): ApiError {
  return new ApiError('NotFound', `${resource} "${name}" not found`);
}

/** The API server cannot be reached at all: kubectl prints its words as they are. */
export class NoConnection extends Error {
  constructor(address: string) {
    super(`The connection to the server ${address} was refused - did you specify the right host or port?`);
    this.name = 'NoConnection';
  }
}

/** Several refusals of one request, joined as kubectl prints them. */
export class FieldConflict extends Error {
  constructor(conflicts: { manager: string; path: string }[]) {
    const managers = [...new Set(conflicts.map(({ manager }) => manager))].sort();
    const lines = managers.map((manager) => {
      const paths = conflicts.filter((one) => one.manager === manager).map(({ path }) => `\n- ${path}`);
      return `conflicts with ${manager}:${paths.join('')}`;
    });
    const [only] = conflicts;
    const words =
      only && conflicts.length === 1 ? `: conflict with ${only.manager}: ${only.path}` : `s: ${lines.join('\n')}`;
    super(
      `Apply failed with ${conflicts.length} conflict${words}\n` +
        'Please review the fields above--they currently have other managers. Take them over with --force-conflicts, or leave them out.',
    );
    this.name = 'FieldConflict';
  }
}
