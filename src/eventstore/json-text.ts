/**
 * Whether a text is JSON that parsing and writing it again by `JSON.stringify` gives back letter by letter. Names in another order,
 * spaces, and numbers such as `-0` or `1e21` do not come back.
 */
export function isPlainJson(text: string): boolean {
  try {
    return JSON.stringify(JSON.parse(text)) === text;
  } catch {
    // No JSON, or nested so deep that it cannot be written.
    return false;
  }
}
