import { quoteIdent } from './names.ts';

/** What is taken from globals.sql, which pg_dumpall writes one statement a line. Pure. */

/**
 * For a throw-away server: without tablespaces, which are folders of the real server, and without the role
 * that initdb has made there already.
 */
export function withoutTablespaces(sql: string, bootstrapRole: string): string {
  const [plain, quoted] = spellings(bootstrapRole);
  const dropped = new Set([`CREATE ROLE ${plain};`, `CREATE ROLE ${quoted};`]);
  return sql
    .split('\n')
    .filter((line) => !dropped.has(line) && !/^(CREATE|ALTER|COMMENT ON|(GRANT|REVOKE) .* ON) TABLESPACE /.test(line))
    .join('\n');
}

/** The statements that make the roles of `missing`, and their memberships; roles that exist are left alone. */
export function statementsFor(sql: string, missing: readonly string[]): string[] {
  const names = missing.flatMap(spellings);
  const makes = names.flatMap((name) => [`CREATE ROLE ${name};`, `ALTER ROLE ${name} `, `COMMENT ON ROLE ${name} `]);
  return sql
    .split('\n')
    .filter(
      (line) =>
        makes.some((start) => line.startsWith(start)) ||
        (line.startsWith('GRANT ') &&
          !line.includes(' ON ') &&
          names.some(
            (name) => line.startsWith(`GRANT ${name} TO `) || new RegExp(` TO ${escaped(name)}( |;)`).test(line),
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
  );
  return sql.split('\n').flatMap((line) => {
    const found = about.exec(line);
    return found ? [`${found[1]}${quoteIdent(to)} ${line.slice(found[0].length)}`] : [];
  });
}

/** PostgreSQL's tools quote a name only where they must. */
function spellings(name: string): [string, string] {
  return [name, quoteIdent(name)];
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
