import { quote } from '../../domain/errors.js';
import { type HashAlgorithm, sha1, sha256 } from '../hash.js';
import { delimiter, flush, lineText, type PktReader, pktLine } from './pkt-line.js';

/** How a remote is spoken to; may be remembered, and goes from thread to thread. */
export type Capabilities = {
  readonly version: 0 | 2;
  /** Version 2: capabilities with what stands behind "=". Version 0: those of its list of refs. */
  readonly has: Readonly<Record<string, string>>;
};

/** What stands in the way of a remote's first line, for errors. */
export const theList = 'its list of refs';

/** Most capabilities, of which there are about a dozen. */
const most = 1_000;

/**
 * The capabilities of version 2 (gitprotocol-v2(5)), after the line that says the version.
 * @throws Error if they are malformed, or it is spoken to in vain
 */
export async function readCapabilities(lines: PktReader): Promise<Capabilities> {
  const has: Record<string, string> = Object.create(null);
  for (let count = 0; ; count++) {
    const line = await lines.next('its capabilities');
    if (line === 'flush') break;
    if (typeof line === 'string' || count > most) throw new Error('its capabilities are malformed');
    Object.assign(has, capability(lineText(line)));
  }
  for (const command of ['ls-refs', 'fetch'])
    if (has[command] === undefined) throw new Error(`it does not have the command ${quote(command)}`);
  return { version: 2, has };
}

/** One capability as it stands in a list. */
export function capability(text: string): Record<string, string> {
  const at = text.indexOf('=');
  return at < 0 ? { [text]: '' } : { [text.slice(0, at)]: text.slice(at + 1) };
}

/** Whether a capability that is a list of words has one. */
export function hasFeature({ has }: Capabilities, name: string, feature: string): boolean {
  return has[name]?.split(' ').includes(feature) === true;
}

/** The object format of a remote. @throws Error naming one that is not known */
export function objectFormat({ has }: Capabilities): HashAlgorithm {
  const format = has['object-format'] ?? 'sha1';
  if (format === 'sha1') return sha1;
  if (format === 'sha256') return sha256;
  throw new Error(`its object format ${quote(format)} is not known`);
}

/** A command of version 2 with its arguments, as it is sent. */
export function commandRequest(command: string, capabilities: Capabilities, args: readonly string[]): Buffer {
  const { has } = capabilities;
  const head = [
    `command=${command}`,
    ...(has.agent === undefined ? [] : ['agent=memoir']),
    ...(has['object-format'] === undefined ? [] : [`object-format=${objectFormat(capabilities).name}`]),
  ];
  const lines = (texts: readonly string[]) => texts.map((text) => pktLine(`${text}\n`));
  return Buffer.concat([...lines(head), delimiter, ...lines(args), flush]);
}
