/** The name in .env of the password of a PostgreSQL server of homelab.yaml. */
export function postgresPassword(server: string): string {
  return `POSTGRES_${server.toUpperCase().replaceAll('-', '_')}_PASSWORD`;
}

/** The name in .env of the URL that backup.notify.healthcheck pings; whoever has it can say that all is well. */
export const HEALTHCHECK_URL = 'BACKUP_HEALTHCHECK_URL';
