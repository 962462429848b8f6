import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Logger } from 'pino';
import { SigningKeysChangedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import type { ServerConfig } from '../config.js';
import { quote } from '../domain/errors.js';
import { formatNeeded } from '../domain/log-format.js';
import { generationStream, signingStream } from '../domain/streams.js';
import type { Edge } from '../edge.js';
import { checkUnsigned, type GuardedStore } from '../eventstore/format-guard.js';
import { LogRefused, WrongExpectedRevision } from '../eventstore/port.js';
import type { Signing } from '../eventstore/signing/signed-log.js';
import { namesOf, signingState, type Trust } from '../eventstore/signing/signing-state.js';
import { type SigningKey, signingKey } from '../eventstore/signing/statement.js';
import { openCheckpointKey } from '../history/checkpoint-key.js';
import { serverItself } from '../jobs/caller.js';
import { eventOfCall } from '../jobs/event-of-call.js';
import { serverVersion } from '../version.js';

/** How often the keys of the log are changed again after another server did so at the same moment. */
const mostAttempts = 10;

/** What a server signs with, and whom it trusts. */
export type ServersKey = {
  /** The key, read or made when it is asked for first: that there is one says that there was a log. */
  readonly opened: () => ReturnType<typeof openCheckpointKey>;
  /** The signing of the log; undefined where the settings do not want it. */
  readonly signing: Signing | undefined;
  /** Whose signatures are believed; undefined where none is verified. */
  trust(): Trust | undefined;
};

/** The key of a server with these settings; `printed` is what the command printed that they name. */
export function serversKey(config: ServerConfig, printed?: string): ServersKey {
  let key: ReturnType<typeof openCheckpointKey> | undefined;
  function opened() {
    key ??= openCheckpointKey({
      path: keyPath(config),
      make: config.checkpoint_key === undefined,
      given: printed === undefined ? undefined : { pem: printed, from: 'what checkpoint_key_command prints' },
      origin: config.checkpoint_origin,
    });
    return key;
  }
  const trust = () => trustOf(config, [opened().key.text]);
  return {
    opened,
    signing: config.sign
      ? {
          state: signingState(trust),
          signer: () => ({ key: opened().key.text, sign: opened().signEvent }),
        }
      : undefined,
    trust: () => (config.sign ? trust() : undefined),
  };
}

const keyPath = ({ checkpoint_key, data_dir }: Pick<ServerConfig, 'checkpoint_key' | 'data_dir'>) =>
  checkpoint_key ?? join(data_dir, 'checkpoint.key');

function trustOf({ trusted_keys, retired_keys }: ServerConfig, more: readonly string[]): Trust {
  return { trusted: [...more, ...trusted_keys], retired: retired_keys };
}

/**
 * Whose signatures an audit of a log believes: of the keys that are given, those of the settings, and the server's own if it is there, and
 * the auditor may read it.
 */
export function auditorsTrust(config: ServerConfig, given: readonly string[]): Trust {
  if (config.checkpoint_key_command) return trustOf(config, given);
  const path = keyPath(config);
  try {
    const own = existsSync(path) ? [openCheckpointKey({ path, make: false, origin: undefined }).key.text] : [];
    return trustOf(config, [...given, ...own]);
  } catch {
    return trustOf(config, given);
  }
}

/** What signing is begun with. */
export type BeginSigning = {
  readonly config: ServerConfig;
  readonly store: GuardedStore;
  readonly signing: Signing | undefined;
  readonly edge: Edge;
  readonly logger: Logger;
};

/**
 * Records from where on the log is signed, and by which keys, where it does not say so yet: the server's own, those of `trusted_keys`,
 * and those that hold, without those of `retired_keys`.
 * @throws LogRefused SIGNED_LOG if the log is signed and this server signs nothing; SIGNING_KEYS_UNKNOWN if it is by keys that this server
 * does not trust; SIGNING_KEY_UNKNOWN if the keys that hold are trusted, and the server's own is none of them
 */
export async function beginSigning({ config, store, signing, edge, logger }: BeginSigning): Promise<void> {
  if (!signing) {
    for await (const recorded of store.readStream(signingStream)) checkUnsigned(recorded);
    return;
  }
  const own = signingKey(signing.signer().key);
  const retired = new Set(config.retired_keys.map((text) => signingKey(text).id));
  if (retired.has(own.id)) throw new Error(`retired_keys has the server's own key, ${quote(own.text)}`);
  const wanted = [own, ...config.trusted_keys.map(signingKey)].filter(({ id }) => !retired.has(id));
  for (let attempt = 1; ; attempt++) {
    await signing.state.load();
    refuseUnknown(signing, own);
    const held = signing.state.keys();
    const left = (held ?? []).filter(({ id }) => !retired.has(id));
    if (left.length > 0 && !has(left, own)) throw notAmong(own, left);
    const next = [...left, ...wanted.filter((key) => !has(left, key))];
    if (held && next.length === left.length && left.length === held.length) return;
    const event = create(SigningKeysChangedSchema, {
      keys: next.filter((key, i) => !has(next.slice(0, i), key)).map(({ text }) => text),
      changedAt: timestampFromMs(edge.now()),
    });
    if (!held && formatNeeded(event) > store.allowedFormat) {
      logger.warn(
        `events are signed, but nobody needs them to be: log_format must be ${formatNeeded(event)} for that, once all servers sign`,
      );
      return;
    }
    try {
      const revision = await lastRevision(store);
      await store.append(signingStream, revision ?? 'no_stream', [
        eventOfCall({ edge, serverVersion }, serverItself(edge), event),
      ]);
      logger.info({ keys: event.keys }, held ? 'changed the keys that the log is signed with' : 'the log is signed');
      return;
    } catch (error) {
      if (!(error instanceof WrongExpectedRevision) || attempt === mostAttempts) throw error;
    }
  }
}

/** Looks at the keys and the generation of the log again whenever they changed, and stops a server whose key is none of them any more. */
export function watchSigning(
  { store, signing, logger }: Pick<BeginSigning, 'store' | 'signing' | 'logger'>,
  readModel: Pick<ReadModel, 'onChange'>,
): void {
  if (!signing) return;
  const own = signingKey(signing.signer().key);
  async function look(state: Signing['state']): Promise<void> {
    try {
      await state.load();
      refuseUnknown({ state }, own);
      const held = state.keys();
      if (held && !has(held, own)) throw notAmong(own, held);
    } catch (error) {
      if (error instanceof LogRefused) store.refuse(error);
      else logger.warn({ err: error }, 'the keys that the log is signed with cannot be read');
    }
  }
  for (const stream of [signingStream, generationStream]) readModel.onChange(stream, () => void look(signing.state));
}

/** A log may be signed already, by servers that this one knows nothing of. */
function refuseUnknown({ state }: Pick<Signing, 'state'>, own: SigningKey): void {
  const last = state.unbelieved().at(-1);
  if (state.keys() || !last) return;
  throw new LogRefused(
    'SIGNING_KEYS_UNKNOWN',
    `event ${last.revision} of stream ${quote(signingStream)} (${last.id}) says that the log is signed by ` +
      `${last.keys.map((text) => quote(text)).join(', ')}, and this server trusts none of these: name those of other servers in trusted_keys, and ` +
      `what its own was before in retired_keys. Its own is ${quote(own.text)}`,
  );
}

function notAmong(own: SigningKey, held: readonly SigningKey[]): LogRefused {
  return new LogRefused(
    'SIGNING_KEY_UNKNOWN',
    `the log is signed by ${namesOf(held)}, and the key of this server is none of these: put ${quote(own.text)} into trusted_keys of a ` +
      'server that has one, and start that again; or, if no server has these any more, put them into retired_keys here',
  );
}

const has = (keys: readonly SigningKey[], { id }: SigningKey) => keys.some((key) => key.id === id);

async function lastRevision(store: GuardedStore): Promise<number | undefined> {
  for await (const last of store.readStream(signingStream, undefined, { direction: 'backwards', limit: 1 })) {
    return last.revision;
  }
  return undefined;
}
