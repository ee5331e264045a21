import type { Operation } from '../apply.ts';

/** Operations whose module is loaded when the first of them runs, so that `--help` does not load the engine. */
export function lazyOperations(
  names: readonly string[],
  load: () => Promise<Record<string, Operation>>,
): Record<string, Operation> {
  let loaded: Promise<Record<string, Operation>> | undefined;
  const lazily =
    (name: string): Operation =>
    async (args, context) => {
      loaded ??= load();
      const operation = (await loaded)[name];
      if (!operation) throw new Error(`no operation ${name}`);
      return operation(args, context);
    };
  return Object.fromEntries(names.map((name) => [name, lazily(name)]));
}
