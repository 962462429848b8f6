import type { ServerHttp2Stream } from 'node:http2';

/**
 * Bytes that a client may have sent of its uploads which this process did not take yet, of all streams of a connection together. HTTP/2 has 64 KiB for that
 * unless somebody says otherwise, of which the half is sent in a round trip at most: 3 MB/s where that takes 10 ms. What is under way is also what one connection
 * may have the server do before it looks at another.
 */
export const windowOfUploads = 256 * 1024;

/** Bytes that a server may have sent to a client which did not take them yet. */
export const windowOfClients = 1024 * 1024;

/** Lets the connection of an upload have more bytes under way. */
export function widenWindow({ session }: Pick<ServerHttp2Stream, 'session'>): void {
  if (!session || session.destroyed || (session.state.effectiveLocalWindowSize ?? 0) >= windowOfUploads) return;
  session.setLocalWindowSize(windowOfUploads);
}
