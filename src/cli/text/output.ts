import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';

/** Whether colours may be used on a stream: it is a terminal, and NO_COLOR (https://no-color.org) is not set. */
export function colourful(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

/** Writes to standard output and waits while its reader is slow. */
export async function print(text: string): Promise<void> {
  if (process.stdout.write(text)) return;
  await new Promise<void>((resolve) => process.stdout.once('drain', resolve));
}

/** Writes one line to standard output. */
export async function printLine(line: string): Promise<void> {
  await print(`${line}\n`);
}

/** Writes one line to standard error: what is for people and no part of the result. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Writes a message to standard output as `protoJson`. */
export async function printMessage<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  whole = true,
): Promise<void> {
  await printLine(protoJson(schema, message, whole));
}

/** The message as one line of ProtoJSON, in the spelling of the proto; fields that are empty only if it is to be whole. */
export function protoJson<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>, whole = true): string {
  return JSON.stringify(toJson(schema, message, { useProtoFieldName: true, alwaysEmitImplicit: whole }));
}

/** Ends the process quietly when the reader of standard output has gone, as `memoir list | head` makes it. */
export function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  process.stderr.on('error', () => {});
}
