import { protoName } from '../../domain/proto-name.js';
import { CallError } from '../../rpc/call-error.js';

/** The error with the largest field of the request in it, where the server refused a request that is too large as a whole. */
export function namingLargest(error: unknown, request: object): unknown {
  if (!(error instanceof CallError) || error.reason !== 'MESSAGE_TOO_LARGE' || error.fields.length > 0) return error;
  const sizes = Object.entries(request).map(([name, value]) => [name, bytesOf(value)] as const);
  const [name, bytes] = sizes.reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0]);
  const field = protoName(name);
  const { code, reason, metadata } = error;
  const message = `${error.message}; most of it is ${field}, ${bytes} bytes as JSON: give the script the address of its data instead`;
  return new CallError(code, message, { reason, metadata, fields: [field] });
}

function bytesOf(value: unknown): number {
  // A 64-bit number is no JSON; its size does not matter here.
  const text = JSON.stringify(value, (_name, part: unknown) => (typeof part === 'bigint' ? Number(part) : part));
  return text === undefined ? 0 : Buffer.byteLength(text);
}
