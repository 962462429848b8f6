/** What a name in a request resolved to. */
export type ResolvedName = { readonly field: string; readonly given: string; readonly resolved: string };

/** Adds what a name resolved to. */
export function note(resolutions: ResolvedName[], field: string, given: string, resolved: string): void {
  resolutions.push({ field, given, resolved });
}
