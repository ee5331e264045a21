/** Options (`-name=value`, `-name`, `-var x=y`) and words of a Terraform or Packer command line. */
export function parseCommand(argv: readonly string[]) {
  const options = new Map<string, string[]>();
  const words: string[] = [];
  for (let i = 0; i < argv.length; i += 1) {
    const [, name = '', value] = /^--?([a-z][\w-]*)(?:=([\s\S]*))?$/.exec(argv[i] ?? '') ?? [];
    if (!name) words.push(argv[i] ?? '');
    else if (name === 'var' && value === undefined) {
      i += 1;
      options.set(name, [...(options.get(name) ?? []), argv[i] ?? '']);
    } else options.set(name, [...(options.get(name) ?? []), value ?? 'true']);
  }
  return { options, words, option: (name: string): string | undefined => options.get(name)?.at(-1) };
}

/** Runs a stand-in's main, and ends the process with its exit code. Says on stderr what it is. */
export async function standIn(name: string, main: (argv: string[]) => Promise<number>): Promise<never> {
  process.stderr.write(`(stand-in for ${name}: it does the same calls, and is not ${name})\n`);
  try {
    process.exit(await main(process.argv.slice(2)));
  } catch (error) {
    process.stderr.write(`Error: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
}
