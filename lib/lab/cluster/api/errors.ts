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
  constructor(conflicts: { manager: string; apiVersion: string; path: string }[]) {
    const lines = conflicts.map(
      ({ manager, apiVersion, path }) => `conflict with "${manager}" using ${apiVersion}: ${path}`,
    );
    super(
      `Apply failed with ${conflicts.length} conflict${conflicts.length > 1 ? 's' : ''}: ${lines.join('\n')}\n` +
        'Please review the fields above--they currently have other managers; take them over with --force-conflicts, or leave them out.',
    );
    this.name = 'FieldConflict';
  }
}
