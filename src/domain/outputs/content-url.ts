import { invalid, quote } from '../errors.js';

/** Where another store of content is called. */
export type ContentUrl = {
  /** As host:port. */
  readonly address: string;
  readonly tls: boolean;
  /** Name of the instance there; empty for the one that has none. */
  readonly instance: string;
};

/**
 * Reads `grpc://host:port/instance`, or `grpcs:` for TLS; the instance may be left out.
 * @throws MemoirError INVALID_ARGUMENT BAD_CONTENT_URL naming it
 */
export function parseContentUrl(text: string, field = 'content'): ContentUrl {
  const [, scheme, address, instance = ''] =
    /^(grpcs?):\/\/((?:\[[0-9a-fA-F:.%]+\]|[^\s:/?#@[\]]+):[0-9]{1,5})(?:\/([^\s?#]*))?$/.exec(text) ?? [];
  const parts = instance.split('/');
  // What stands in the names of resources behind an instance cannot be a part of one.
  const taken = ['blobs', 'uploads', 'compressed-blobs', 'actions', 'operations', 'capabilities'];
  const bad = instance !== '' && parts.some((part) => part === '' || taken.includes(part));
  if (address === undefined || bad) {
    throw invalid(
      field,
      'BAD_CONTENT_URL',
      `${quote(text)} is no grpc://host:port/instance, nor the same with grpcs: for TLS`,
    );
  }
  return { address, tls: scheme === 'grpcs', instance };
}
