import { invalid, quote } from '../domain/errors.js';
import { isUuid } from '../domain/streams.js';

/** Longest text of a field, in bytes of UTF-8. */
export const textLimits = {
  repository: 255,
  refspec: 4_096,
  script: 4_096,
  submitId: 256,
  description: 65_536,
  image: 1_024,
  componentName: 256,
  address: 4_096,
  progressMessage: 4_096,
  failureMessage: 65_536,
  reason: 4_096,
  workerName: 256,
  labelValue: 256,
} as const;

/** Most labels of a job. */
export const maxLabels = 64;

/** Most components of a job. */
export const maxComponents = 1_000;

/**
 * @param what of the field the text is, for the message; the field itself unless given
 * @throws MemoirError INVALID_ARGUMENT if the text is longer than `limit` bytes of UTF-8
 */
export function checkLength(field: string, text: string, limit: number, what = field): void {
  if (text.length * 3 <= limit) return;
  const length = Buffer.byteLength(text);
  if (length <= limit) return;
  throw invalid(field, 'TOO_LONG', `${what} ${quote(text, 60)} has ${length} bytes, and ${limit} is the limit`);
}

/** @throws MemoirError INVALID_ARGUMENT if the text is empty or longer than `limit` bytes of UTF-8 */
export function checkRequired(field: string, text: string, limit: number): void {
  if (text === '') throw invalid(field, 'REQUIRED', `${field} is required`);
  checkLength(field, text, limit);
}

/**
 * The uuid in lower case.
 * @throws MemoirError INVALID_ARGUMENT naming the text if it is no UUID
 */
export function checkUuid(field: string, text: string): string {
  if (text === '') throw invalid(field, 'REQUIRED', `${field} is required`);
  const uuid = text.toLowerCase();
  if (!isUuid(uuid)) throw invalid(field, 'BAD_UUID', `${field} ${quote(text)} is not a UUID`);
  return uuid;
}

/** @throws MemoirError INVALID_ARGUMENT if a name is empty or too long, a value is no UUID, or there are too many */
export function checkComponents(field: string, components: Readonly<Record<string, string>>): void {
  const names = Object.keys(components);
  if (names.length > maxComponents) {
    throw invalid(field, 'TOO_MANY', `${field} has ${names.length} members, and ${maxComponents} is the limit`);
  }
  for (const name of names) {
    if (name === '') throw invalid(field, 'REQUIRED', `${field} has a member without a name`);
    checkLength(field, name, textLimits.componentName, `${field}: the name`);
    const uuid = components[name] as string;
    if (!isUuid(uuid)) {
      throw invalid(field, 'BAD_UUID', `${field}: ${quote(uuid)} of ${quote(name)} is not a UUID in lower case`);
    }
  }
}

/** @throws MemoirError INVALID_ARGUMENT if a name is none, a value is too long, or there are too many */
export function checkLabels(field: string, labels: Readonly<Record<string, string>>): void {
  const names = Object.keys(labels);
  if (names.length > maxLabels) {
    throw invalid(field, 'TOO_MANY', `${field} has ${names.length} members, and ${maxLabels} is the limit`);
  }
  for (const name of names) {
    if (!/^[A-Za-z0-9]([A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?$/.test(name)) {
      const what = 'letters, digits, "_", "-", "." and "/", with a letter or digit first and last';
      throw invalid(field, 'BAD_LABEL', `${field}: the name ${quote(name, 60)} is not 1 to 63 ${what}`);
    }
    checkLength(field, labels[name] as string, textLimits.labelValue, `${field}: the value of ${quote(name)},`);
  }
}
