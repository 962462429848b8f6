import { create } from '@bufbuild/protobuf';
import {
  type HistoryService,
  type ReadHistoryRequest,
  ReadHistoryResponseSchema,
} from '../../gen/memoir/history/v1/history_service_pb.js';
import { invalid, quote } from '../domain/errors.js';
import { type HistoryQuery, readHistory } from '../history/read-history.js';
import { checkTime } from '../jobs/check-time.js';
import type { JobsContext } from '../jobs/context.js';
import { checkLength, checkUuid, textLimits } from '../jobs/limits.js';
import { eventMessage } from './event-message.js';
import type { Implementation } from './service.js';
import { subscribeEvents } from './subscribe-events.js';

/** Longest name of a principal, in bytes. */
const principalLimit = 256;

/** memoir.history.v1.HistoryService. */
export function historyService(context: JobsContext): Implementation<typeof HistoryService> {
  return {
    async *readHistory(request, { access, signal }) {
      for await (const recorded of readHistory(context, access, queryOf(request), signal)) {
        yield create(ReadHistoryResponseSchema, { event: eventMessage(recorded, recorded.event) });
      }
    },
    subscribeEvents: subscribeEvents(context),
  };
}

/** @throws MemoirError INVALID_ARGUMENT naming the field that is wrong */
function queryOf(request: ReadHistoryRequest): HistoryQuery {
  const { uuid, computationDigest, repository, principal, since, until, afterPosition } = request;
  checkLength('repository', repository, textLimits.repository);
  checkLength('principal', principal, principalLimit);
  if (computationDigest !== '' && !/^[0-9a-f]{64}$/.test(computationDigest)) {
    const message = `computation_digest ${quote(computationDigest)} is not 64 hexadecimal digits in lower case`;
    throw invalid('computation_digest', 'BAD_DIGEST', message);
  }
  if (afterPosition > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw invalid('after_position', 'OUT_OF_RANGE', `after_position ${afterPosition} is beyond any log`);
  }
  const query: HistoryQuery = {
    uuid: uuid === '' ? undefined : checkUuid('uuid', uuid),
    computationDigest: computationDigest || undefined,
    repository: repository || undefined,
    principal: principal || undefined,
    since: since && checkTime('since', since),
    until: until && checkTime('until', until),
    after: Number(afterPosition),
  };
  const { after: _, ...conditions } = query;
  if (Object.values(conditions).every((condition) => condition === undefined)) {
    const message = 'uuid is required, or one of computation_digest, repository, principal, since and until';
    throw invalid('uuid', 'REQUIRED', message);
  }
  return query;
}
