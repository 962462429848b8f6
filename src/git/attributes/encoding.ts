import iconv from 'iconv-lite';
import type { AttributeState } from './attribute-file.js';

/** An encoding of the work tree; `undefined` where content stays UTF-8. */
export type Encoding = ((content: Buffer) => Buffer) | undefined;

/** What git cannot be told as a `working-tree-encoding`, or Memoir cannot write, for people. */
export type EncodingProblem = { readonly problem: string };

/** Those of UTF, which git writes with the marks that their names say: alone, UTF-16 and UTF-32 have one, and are little-endian. */
const utf: Readonly<Record<string, readonly [name: string, mark: string]>> = {
  UTF16: ['utf-16le', '\ufeff'],
  UTF16LE: ['utf-16le', ''],
  UTF16BE: ['utf-16be', ''],
  UTF16LEBOM: ['utf-16le', '\ufeff'],
  UTF16BEBOM: ['utf-16be', '\ufeff'],
  UTF32: ['utf-32le', '\ufeff'],
  UTF32LE: ['utf-32le', ''],
  UTF32BE: ['utf-32be', ''],
};

/** What `working-tree-encoding` asks for. */
export function encodingOf(state: AttributeState): Encoding | EncodingProblem {
  if (state === undefined || state === '') return undefined;
  if (typeof state === 'boolean') return { problem: 'is true or false, which names no encoding' };
  const plain = state.toUpperCase().replaceAll('-', '').replaceAll('_', '');
  if (plain === 'UTF8') return undefined;
  const [name, mark] = (/^UTF/.test(plain) && Object.hasOwn(utf, plain) ? utf[plain] : undefined) ?? [state, ''];
  if (
    !iconv.encodingExists(name) ||
    /^(?:base64|hex|binary|utf8.*|cesu8|utf7.*|utf32|ucs2)$/i.test(name.replaceAll('-', ''))
  )
    return { problem: 'is an encoding that Memoir does not know' };
  return (content) => encode(content, name, mark);
}

/** As git leaves it, content is as it is where it is no UTF-8 or has characters that the encoding does not have. */
function encode(content: Buffer, name: string, mark: string): Buffer {
  if (content.length === 0) return content;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return content;
    throw error;
  }
  const encoded = iconv.encode(mark + text, name, { addBOM: false });
  return iconv.decode(encoded, name, { stripBOM: false }) === mark + text ? encoded : content;
}
