/** Bytes as a body of a single piece. */
export async function* onePiece(bytes: Uint8Array): AsyncIterableIterator<Uint8Array> {
  yield bytes;
}
