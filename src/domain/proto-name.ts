/** How the protos spell the name that a field has in TypeScript and in JSON: snake_case for camelCase. */
export function protoName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
