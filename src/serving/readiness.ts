import type { DescMethod } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { AuditService } from '../../gen/memoir/audit/v1/audit_service_pb.js';
import { HistoryService } from '../../gen/memoir/history/v1/history_service_pb.js';
import { RepositoriesService } from '../../gen/memoir/repositories/v1/repositories_service_pb.js';
import { WorkerService } from '../../gen/memoir/worker/v1/worker_service_pb.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import type { Follower } from '../../projections/running/follower.js';
import { MemoirError } from '../domain/errors.js';
import type { GuardedStore } from '../eventstore/format-guard.js';
import type { Calls } from '../rpc/call.js';
import type { RpcServer } from '../rpc/server.js';
import { logRefused } from '../rpc/status.js';
import type { StatusBoard } from './status-board.js';

/** How long a call waits for the read model of a server that has just started, in milliseconds. */
const longestWaitForStart = 5_000;

/** How long a call waits for the end of a trouble, in milliseconds. */
const longestWaitInTrouble = 2_000;

/** How often it is looked whether the log is followed, in milliseconds. */
const watchInterval = 1_000;

/** How often the progress of a catch-up, and what goes wrong, is logged, in milliseconds. */
const progressInterval = 2_000;

/** How many looks the store may leave it unsaid where the log ends. */
const longestSilenceOfStore = 10;

const { appendJobLog, completeJob, failJob, heartbeat } = WorkerService.method;

/** What workers report of jobs goes to the streams of these, and what they computed must not be lost by a trouble of reads. */
const reports: ReadonlySet<DescMethod> = new Set([appendJobLog, completeJob, failJob, heartbeat]);

/**
 * Keeps calls until the read model has caught up: decisions taken by half a read model would be wrong. What depends on it is UNAVAILABLE
 * while it cannot follow the log, since nobody knows how much it misses. Refuses all where the log is refused.
 */
export function gate(
  store: Pick<GuardedStore, 'refused'>,
  readModel: ReadModel,
): (method: DescMethod) => Promise<void> | undefined {
  return (method) => {
    const refused = store.refused();
    if (refused) throw refused;
    const { live, trouble } = readModel.progress();
    if (live && (trouble === undefined || reports.has(method) || method.parent === RepositoriesService))
      return undefined;
    return live ? troubleOver(readModel) : caughtUpInTime(readModel);
  };
}

async function troubleOver(readModel: ReadModel): Promise<void> {
  const end = performance.now() + longestWaitInTrouble;
  for (;;) {
    const { live, trouble } = readModel.progress();
    if (live && trouble === undefined) return;
    if (!live) return caughtUpInTime(readModel);
    if (performance.now() >= end) {
      const message = `${readModel.name} cannot follow the log, so that it may miss what was recorded: ${trouble}`;
      throw new MemoirError('UNAVAILABLE', 'READ_MODEL_UNAVAILABLE', message);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function caughtUpInTime(readModel: ReadModel): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<void>((_, reject) => {
    timer = setTimeout(() => {
      const { position, end, failure } = readModel.progress();
      const why = failure === undefined ? '' : `; it cannot go on: ${failure}`;
      const message = `the read model is being brought up to date: at position ${position} of about ${end}${why}`;
      reject(new MemoirError('UNAVAILABLE', 'READ_MODEL_CATCHING_UP', message));
    }, longestWaitForStart);
  });
  try {
    await Promise.race([readModel.caughtUp(), tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

/** Most events that are named in the server's log since its start. */
const mostNamed = 100;

/** Names what is passed over in the server's log, each event once, as long as there are not too many. */
export function namePassedOver(readModel: Pick<Follower, 'onPassedOver'>, logger: Logger): void {
  let named = 0;
  readModel.onPassedOver((count, first) => {
    for (const event of first.slice(0, mostNamed - named)) {
      named++;
      logger.warn(
        { ...event, passedOver: count },
        'an event that no Memoir wrote, or that is malformed, is passed over',
      );
    }
    if (named < mostNamed || first.length === 0) return;
    logger.warn({ passedOver: count }, 'more events are passed over; memoir audit foreign names all of them');
  });
}

/** What follows the log, and the log. */
export type Followed = {
  readonly store: Pick<GuardedStore, 'end' | 'refused'>;
  readonly readModel: Follower;
  readonly history: Follower;
};

/** Services that answer by the history too. */
const byHistory: ReadonlySet<string> = new Set([HistoryService.typeName, AuditService.typeName]);

/**
 * Says through the health service and on the board which calls are answered, and until it is stopped, in the log how the catch-up goes and what is wrong:
 * whoever cannot follow the log for seconds, whatever the cause, does not serve.
 */
export function watchFollowers(
  { store, readModel, history }: Followed,
  server: Pick<RpcServer, 'services' | 'setServing'>,
  board: Pick<StatusBoard, 'say'>,
  logger: Logger,
): () => void {
  const said = new Map<string, boolean>();
  let unheard = 0;
  let asking = false;
  let storeFailure = 'it does not answer';
  let lastLine = performance.now();

  /** The end of the log, which tells whether somebody misses something. */
  async function ask(): Promise<void> {
    if (asking) return;
    asking = true;
    try {
      const end = await store.end();
      unheard = 0;
      readModel.expect(end);
      history.expect(end);
    } catch (error) {
      storeFailure = (error as Error).message;
    } finally {
      asking = false;
    }
  }

  function say(service: string, serving: boolean): void {
    if (said.get(service) === serving) return;
    said.set(service, serving);
    server.setServing(service, serving);
  }

  function look(): void {
    const reads = readModel.progress();
    const storeAway = unheard > longestSilenceOfStore;
    const now = !store.refused() && reads.live && reads.trouble === undefined && !storeAway;
    const past = now && history.progress().trouble === undefined;
    for (const service of server.services) say(service, byHistory.has(service) ? past : now);
    if (said.get('') !== past && past) logger.info({ position: reads.position }, 'ready');
    say('', past);
    board.say({ serving: past, text: past ? 'answers calls' : whyNot(storeAway) });
    if (performance.now() - lastLine < progressInterval) return;
    lastLine = performance.now();
    if (storeAway) logger.error({ failure: storeFailure }, 'the end of the log cannot be read');
    for (const follower of [readModel, history]) {
      const { position, end, failure, trouble, live } = follower.progress();
      const why = trouble ?? failure;
      if (why !== undefined) logger.error({ position, failure: why }, `${follower.name} cannot be kept up to date`);
      else if (!live) logger.info({ position, end }, `bringing ${follower.name} up to date`);
    }
  }

  /** Why not all calls are answered, in words that do not change with every event. */
  function whyNot(storeAway: boolean): string {
    const refused = store.refused();
    if (refused) return `the log is refused: ${refused.message}`;
    for (const follower of [readModel, history]) {
      const { trouble, failure, live, position, end } = follower.progress();
      const why = trouble ?? failure;
      if (why !== undefined) return `${follower.name} cannot follow the log: ${why}`;
      if (!live) return `brings ${follower.name} up to date: ${percent(position, end)} %`;
    }
    return storeAway ? `the end of the log cannot be read: ${storeFailure}` : 'is about to answer calls';
  }

  function tick(): void {
    unheard++;
    void ask();
    look();
  }

  const timer = setInterval(tick, watchInterval);
  timer.unref();
  for (const follower of [readModel, history]) {
    const tell = (why: string) => logger.warn({ why }, `${follower.name} is made anew from the log`);
    if (follower.remadeAtOpening !== undefined) tell(follower.remadeAtOpening);
    follower.onRemade((why) => {
      tell(why);
      look();
      follower.caughtUp().then(look, () => undefined);
    });
  }
  // Where the server was stopped before, nobody asks any more.
  readModel.caughtUp().then(look, () => undefined);
  return () => clearInterval(timer);
}

/**
 * Stops serving for good when the log turns out to be one that this process must not go on with, whoever of those that read it finds
 * that: what is under way ends with the reason, and nothing is written any more.
 */
export function watchRefusal(
  store: Pick<GuardedStore, 'refuse' | 'onRefused'>,
  followers: readonly Follower[],
  server: Pick<RpcServer, 'services' | 'setServing'>,
  calls: Pick<Calls, 'drain'>,
  logger: Logger,
): void {
  for (const follower of followers) follower.onRefused(store.refuse);
  store.onRefused((error) => {
    for (const service of ['', ...server.services]) server.setServing(service, false);
    calls.drain(logRefused(error));
    logger.error(
      { reason: error.reason },
      `the log is refused, nothing is served and nothing written: ${error.message}`,
    );
  });
}

const percent = (position: number, end: number): number =>
  end <= 0 ? 0 : Math.min(99, Math.floor((100 * position) / end));
