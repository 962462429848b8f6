/** What a name in a request resolved to. */
export type ResolvedName = { readonly field: string; readonly given: string; readonly resolved: string };
