import { quoteIdent } from './names.ts';

/** What is taken from the SQL of pg_dumpall --globals-only, and of a dump's own database. Pure. */

/**
 * For a throw-away server: without tablespaces, which are folders of the real server, and without the role
 * that initdb has made there already.
 */
export function withoutTablespaces(sql: string, bootstrapRole: string): string {
  const [plain, quoted] = spellings(bootstrapRole);
  const dropped = new Set([`CREATE ROLE ${plain};`, `CREATE ROLE ${quoted};`]);
  return statementsOf(sql)
    .filter((statement) => !dropped.has(statement) && !ABOUT_TABLESPACE.test(statement))
    .join('\n');
}

/** The statements that make the roles of `missing`, with memberships and privileges on parameters; roles that exist are left alone. */
export function statementsFor(sql: string, missing: readonly string[]): string[] {
  const names = missing.flatMap(spellings);
  const makes = names.flatMap((name) => [`CREATE ROLE ${name};`, `ALTER ROLE ${name} `, `COMMENT ON ROLE ${name} `]);
  return statementsOf(sql).filter(
    (statement) =>
      makes.some((start) => statement.startsWith(start)) ||
      (statement.startsWith('GRANT ') &&
        !ABOUT_TABLESPACE.test(statement) &&
        names.some(
          (name) =>
            statement.startsWith(`GRANT ${name} TO `) || new RegExp(` TO ${escaped(name)}( |;)`).test(statement),
        )),
  );
}

/**
 * The statements about a database itself (settings, privileges, comment) from a dump's SQL, for the same
 * database under another name.
 */
export function databaseStatements(sql: string, from: string, to: string): string[] {
  const name = `(?:${spellings(from).map(escaped).join('|')})`;
  const about = new RegExp(
    `^(ALTER DATABASE |ALTER ROLE .+ IN DATABASE |(?:GRANT|REVOKE) .+ ON DATABASE |COMMENT ON DATABASE )${name} (?!OWNER TO )`,
    's',
  );
  return statementsOf(sql).flatMap((statement) => {
    const found = about.exec(statement);
    return found ? [`${found[1]}${quoteIdent(to)} ${statement.slice(found[0].length)}`] : [];
  });
}

/** The same membership, granted by whoever restores: from 16 on the one who granted it must still be able to. */
export function withoutGrantor(statement: string): string {
  return statement.replace(/ GRANTED BY (?:"(?:[^"]|"")*"|[^\s"]+);$/, ';');
}

const ABOUT_TABLESPACE = /^(CREATE|ALTER|COMMENT ON|(GRANT|REVOKE) [A-Z, ]+ ON) TABLESPACE /;

/** A comment, psql's own command, or one piece of a statement: a quoted name or text (E'' with backslashes), or a plain character. */
const PIECE = /--.*|^\\.*|E'(?:[^'\\]|''|\\[\s\S])*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|[\s\S]/gmy;

/** Names and texts may hold line breaks and semicolons: only what stands outside of quotes ends a statement. */
export function statementsOf(sql: string): string[] {
  const statements: string[] = [];
  let open = '';
  for (const [piece] of sql.matchAll(PIECE)) {
    if (piece.startsWith('--')) continue;
    if (piece.length > 1 && piece.startsWith('\\') && open.trim() === '') statements.push(piece);
    else open += piece;
    if (piece !== ';') continue;
    statements.push(open.trim());
    open = '';
  }
  return statements;
}

/** PostgreSQL's tools quote a name only where they must. */
function spellings(name: string): [string, string] {
  return [name, quoteIdent(name)];
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
