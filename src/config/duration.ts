const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
const form = /^([0-9]{1,9})([smhdw])$/;

/** Whether a text is a duration, such as "90d". */
export const isDuration = (text: string): boolean => form.test(text);

/** A duration in milliseconds: a whole number and s, m, h, d or w. @throws Error naming the text if it is none */
export function durationOf(text: string): number {
  const [, count, unit] = form.exec(text) ?? [];
  if (count === undefined || unit === undefined) throw new Error(`${JSON.stringify(text)} is no duration`);
  return Number(count) * (units[unit] as number) * 1_000;
}
