/**
 * SQL that reads how far some projections have come, the least of them. In a transaction with other reads it tells of which moment
 * these are.
 */
export function checkpointOf(projections: readonly string[]): string {
  return `SELECT min(position) FROM projection WHERE name IN (${projections.map((name) => `'${name}'`).join(', ')})`;
}
