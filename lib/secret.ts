import { inspect } from 'node:util';

/**
 * A secret that redacts itself: printed, interpolated or serialised it shows its name only.
 * `reveal()` is called at the edge that needs the value: a child's environment, a header, stdin.
 */
export class Secret {
  readonly #value: string;
  readonly name: string;

  constructor(name: string, value: string) {
    this.name = name;
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return `[secret ${this.name}]`;
  }

  toJSON(): string {
    return this.toString();
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/** Values shorter than this are not searched for in output: they would blot out ordinary words. */
const SHORTEST = 6;

/**
 * Every secret of a run, by name, and the one function that takes their values out of text.
 * A second line of defence: secrets should not reach text in the first place.
 */
export class Secrets {
  readonly #byName = new Map<string, Secret>();

  add(name: string, value: string): Secret {
    const secret = new Secret(name, value);
    this.#byName.set(name, secret);
    return secret;
  }

  get(name: string): Secret | undefined {
    return this.#byName.get(name);
  }

  names(): string[] {
    return [...this.#byName.keys()];
  }

  /** `text` with every known secret replaced by its name; also in base64 and percent-encoded form. */
  redact(text: string): string {
    const forms = [...this.#byName.values()].flatMap((secret) => formsOf(secret).map((form) => ({ form, secret })));
    // The longest first: a secret may be a part of another.
    forms.sort((a, b) => b.form.length - a.form.length);
    let out = text;
    for (const { form, secret } of forms) out = out.split(form).join(secret.toString());
    return out;
  }
}

/** How a value may stand in text. */
function formsOf(secret: Secret): string[] {
  const value = secret.reveal();
  if (value.length < SHORTEST) return [];
  return [
    ...new Set([
      value,
      encodeURIComponent(value),
      JSON.stringify(value).slice(1, -1),
      Buffer.from(value).toString('base64'),
    ]),
  ];
}
