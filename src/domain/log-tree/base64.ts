/** The bytes that a text in standard base64 with padding stands for (RFC 4648, section 4); undefined if it is none, or not the one that writing those bytes gives. */
export function readBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}
