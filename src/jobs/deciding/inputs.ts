import { create, type JsonValue } from '@bufbuild/protobuf';
import { ContentKind, type Digest, DigestSchema } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { type Input, InputSchema } from '../../../gen/memoir/jobs/v1/input_pb.js';
import type { CreateJobRequest } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import type { GiverRow } from '../../../projections/read-model/content/givers.js';
import type { Access } from '../../domain/access.js';
import { invalid, MemoirError, quote } from '../../domain/errors.js';
import { type ContentText, contentText, type MaybeInput, maybeInputs } from '../../domain/inputs/input-text.js';
import { decidingInputs, type InputFacts, lackedInput, type WantedInput } from '../../domain/inputs/lacked-inputs.js';
import { addressOf } from '../../domain/outputs/digest.js';
import type { Caller } from '../caller.js';
import type { DecidingContext, JobsContext } from '../context.js';
import { contentKey, outputKey } from '../own-writes.js';

/** Most inputs of a job. */
const mostInputs = 10_000;

type Context = Pick<JobsContext, 'readModel' | 'written' | 'store' | 'content' | 'sharesRuns'>;

/** Content that a caller may use, and a job that the caller may read which gave it; empty if none did. */
type Known = { readonly content: Digest; readonly job: string };

/**
 * Checks what a request says of its inputs itself.
 * @throws MemoirError INVALID_ARGUMENT naming a pointer that leads to no text which may name content
 */
export function checkInputs({ inputs, scriptParameters = {} }: CreateJobRequest): void {
  if (inputs.length > 1_000)
    throw invalid('inputs', 'TOO_MANY', `inputs has ${inputs.length} entries, the limit is 1000`);
  for (const [i, pointer] of inputs.entries()) {
    const value = valueAt(scriptParameters, pointer);
    if (typeof value === 'string' && contentText(value)) continue;
    const what = value === undefined ? 'nothing stands there' : `${quote(JSON.stringify(value), 100)} names no content`;
    throw invalid(
      `inputs[${i}]`,
      'BAD_INPUT',
      `inputs[${i}] ${quote(pointer)} leads to no parameter "sha256:<hash>" or "sha256:<hash>/<path>": ${what}`,
    );
  }
}

/** What a JSON pointer leads to; undefined for nothing. */
function valueAt(root: JsonValue, pointer: string): JsonValue | undefined {
  const [first, ...parts] = pointer.split('/');
  if (first !== '') return undefined;
  let value: JsonValue | undefined = root;
  for (const part of parts) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, key)) return undefined;
    if (Array.isArray(value) && !/^(0|[1-9][0-9]*)$/.test(key)) return undefined;
    value = (value as Record<string, JsonValue>)[key];
  }
  return value;
}

/**
 * Which parameters of a request are inputs, for a job that would be made. Content is known to a caller who may read a job that gave it, or who
 * put it; all other is as if it were not there, and its address a text like any other unless the request says that it is an input.
 * @throws MemoirError INVALID_ARGUMENT UNKNOWN_INPUT, INPUT_NOT_FOUND (a path that is not in the tree), TOO_MANY_INPUTS; FAILED_PRECONDITION
 * INPUT_LOST; UNAVAILABLE
 */
export async function inputsOf(context: Context, caller: Caller, request: CreateJobRequest): Promise<Input[]> {
  const named = new Set(request.inputs);
  const wanted = mayBeInputs(request, named);
  if (wanted.length === 0) return [];
  if (!context.sharesRuns || !context.content) {
    if (named.size === 0) return [];
    throw new MemoirError(
      'FAILED_PRECONDITION',
      'CONTENT_NOT_TAKEN',
      'this server may not record inputs of jobs yet, which takes log format 4',
      { field: 'inputs' },
    );
  }
  const known = await knownOf(context, caller, wanted);
  const inputs: Input[] = [];
  for (const one of wanted) {
    const content = known.get(one.hash);
    if (content) inputs.push(await inputOf(context.content, context.readModel, one, content));
    else if (named.has(one.pointer)) throw unknown(one);
    if (inputs.length > mostInputs) {
      throw invalid(
        'script_parameters',
        'TOO_MANY_INPUTS',
        `script_parameters name content more than ${mostInputs} times; name a tree that holds it`,
      );
    }
  }
  return inputs;
}

/** The parameters that may be inputs by what the request says. */
function mayBeInputs({ scriptParameters, onlyNamedInputs }: CreateJobRequest, named: ReadonlySet<string>) {
  const maybe = scriptParameters ? maybeInputs(scriptParameters) : [];
  return onlyNamedInputs ? maybe.filter(({ pointer }) => named.has(pointer)) : maybe;
}

/** Texts of a request that a decision looks at because they may be inputs. */
export type NamedInputs = {
  readonly texts: readonly Pick<MaybeInput, 'pointer' | 'hash'>[];
  /** Whether they are inputs whoever asks, since that is recorded; else those are whose content the caller knows. */
  readonly settled: boolean;
};

/** Those of a request; undefined if it has none. */
export function namedInputs(request: CreateJobRequest): NamedInputs | undefined {
  const texts = mayBeInputs(request, new Set(request.inputs));
  return texts.length === 0 ? undefined : { texts, settled: false };
}

/**
 * The inputs for want of which candidates are ruled out, as far as they are known to the caller. What of them is lost, or not in its tree, does not
 * matter for that. Read after the candidates, so that it is not older than they are: content that is not there yet came after all of them.
 * @throws MemoirError UNAVAILABLE
 */
export async function lackedInputs(
  context: Pick<DecidingContext, 'readModel' | 'written' | 'store'>,
  caller: Caller,
  { texts, settled }: NamedInputs,
  candidates: readonly InputFacts[],
): Promise<readonly WantedInput[]> {
  const lacked: WantedInput[] = [];
  for (const { pointer, hash } of texts) {
    if (candidates.every(({ inputs }) => inputs?.has(pointer))) continue;
    const since = context.readModel.content.get(hash)?.position;
    if (since === undefined) continue;
    const wanted = { pointer, hash, since };
    if (candidates.some((candidate) => lackedInput(candidate, [wanted]))) lacked.push(wanted);
  }
  if (lacked.length === 0 || settled) return decidingInputs(candidates, lacked);
  const known = await knownOf(context, caller, lacked);
  return decidingInputs(
    candidates,
    lacked.filter(({ hash }) => known.has(hash)),
  );
}

async function knownOf(
  { readModel, written, store }: Pick<DecidingContext, 'readModel' | 'written' | 'store'>,
  caller: Caller,
  wanted: readonly Pick<MaybeInput, 'hash'>[],
): Promise<ReadonlyMap<string, Known>> {
  const hashes = [...new Set(wanted.map(({ hash }) => hash))];
  const known = new Map<string, Known>();
  const look = () => {
    for (const hash of hashes) {
      if (known.has(hash)) continue;
      const found = knownTo(caller.access, hash, readModel.givers.of(hash));
      if (found) known.set(hash, found);
    }
    return known.size === hashes.length;
  };
  if (look()) return known;
  // What was recorded a moment ago, by the caller or by the worker of another job, and at other servers too.
  await written.seen(contentKey);
  for (const hash of hashes) await written.seen(outputKey(addressOf({ hash })));
  if (look() || store.exclusive) return known;
  await written.catchUp(await store.end());
  look();
  return known;
}

/** Content as far as a caller may know of it. All rows are looked at, whoever asks. */
function knownTo(access: Access, hash: string, rows: readonly GiverRow[]): Known | undefined {
  let known: Known | undefined;
  for (const { owner, repository, size, kind, job } of rows) {
    const may = repository === '' ? access.readsAll || owner === access.principal : access.reads({ owner, repository });
    if (!may || known?.job) continue;
    known = { content: create(DigestSchema, { hash, sizeBytes: BigInt(size), kind }), job: job ?? '' };
  }
  return known;
}

/** Whether somebody may know of content: may read a job that gave it, or put it. */
export function knowsContent({ givers }: Pick<Context['readModel'], 'givers'>, access: Access, hash: string): boolean {
  return knownTo(access, hash, givers.of(hash)) !== undefined;
}

async function inputOf(
  kept: NonNullable<Context['content']>,
  readModel: Context['readModel'],
  { pointer, path }: MaybeInput,
  { content, job }: Known,
): Promise<Input> {
  if (readModel.content.lostBy(content.hash).length > 0 || !(await kept.has(content))) {
    throw await notHere(kept, pointer, content, job);
  }
  if (path === '') return create(InputSchema, { pointer, content, path, digest: content, job });
  const found = content.kind === ContentKind.TREE ? await findIn(kept, pointer, content, path, job) : undefined;
  if (found) return create(InputSchema, { pointer, content, path, ...found, job });
  throw invalid(
    'script_parameters',
    'INPUT_NOT_FOUND',
    `script_parameters at ${quote(pointer)}: there is no ${quote(path)} in ${addressOf(content)}`,
  );
}

async function findIn(kept: NonNullable<Context['content']>, pointer: string, tree: Digest, path: string, job: string) {
  try {
    return await kept.at(tree, path);
  } catch (error) {
    if (error instanceof MemoirError && error.reason === 'BLOB_NOT_FOUND')
      throw await notHere(kept, pointer, tree, job);
    throw error;
  }
}

/** The error for an input that is not here: it is lost, or only other servers of the log have it. */
async function notHere(kept: NonNullable<Context['content']>, pointer: string, content: Digest, job: string) {
  const elsewhere = await kept.elsewhere(content);
  if (!elsewhere) return lost(pointer, content, job);
  const { code, reason, message, metadata } = elsewhere;
  return new MemoirError(code, reason, `script_parameters at ${quote(pointer)}: ${message}`, { metadata });
}

function unknown({ pointer, hash }: MaybeInput & ContentText): MemoirError {
  return invalid(
    'inputs',
    'UNKNOWN_INPUT',
    `script_parameters at ${quote(pointer)}: no content ${addressOf({ hash })} is known to you; put it, or name a job's that you may read`,
  );
}

function lost(pointer: string, content: Digest, job: string): MemoirError {
  const by =
    job === ''
      ? 'put it again'
      : `job ${job} gave it, and would have to be run again (RetryJob, or CreateJob without find_or_create)`;
  return new MemoirError(
    'FAILED_PRECONDITION',
    'INPUT_LOST',
    `script_parameters at ${quote(pointer)}: ${addressOf(content)} is not here any more; ${by}`,
    { metadata: { address: addressOf(content), ...(job !== '' && { job }) } },
  );
}
