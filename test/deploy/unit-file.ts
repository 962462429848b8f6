import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The folder of what Memoir is deployed with. */
export const deployFolder = fileURLToPath(new URL('../../../deploy/', import.meta.url));

/** A unit of systemd, as systemd.syntax(7) has it but for lines that go on: the values of a key in their order. */
export type UnitFile = { readonly text: string; values(section: string, key: string): readonly string[] };

/** Reads a unit in the folder of units. */
export function readUnit(name: string): UnitFile {
  const text = readFileSync(`${deployFolder}systemd/${name}`, 'utf8');
  const entries: { section: string; key: string; value: string }[] = [];
  let section = '';
  for (const line of text.split('\n')) {
    if (/^\s*([#;].*)?$/.test(line)) continue;
    const [, named] = /^\[(\w+)\]$/.exec(line) ?? [];
    const [, key, value = ''] = /^(\w+)=(.*[^\\]|)$/.exec(line) ?? [];
    if (named !== undefined) section = named;
    else if (key !== undefined) entries.push({ section, key, value });
    else throw new Error(`the unit ${name} has the line "${line}"`);
  }
  return {
    text,
    values: (of, key) => entries.filter((one) => one.section === of && one.key === key).map(({ value }) => value),
  };
}

/** Variables that the unit gives its process, by name. */
export function environmentOf(unit: UnitFile): Readonly<Record<string, string>> {
  return Object.fromEntries(
    unit
      .values('Service', 'Environment')
      .map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]),
  );
}
