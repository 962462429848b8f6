import { create } from '@bufbuild/protobuf';
import test from 'ava';
import { ContentLossReason } from '../../../gen/memoir/events/v1/events_pb.js';
import { Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { ContentKind, DigestSchema } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { CreateJobRequestSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { addressOf } from '../../../src/domain/outputs/digest.js';
import { type Loss, lossesUpTo } from '../../../src/domain/outputs/losses.js';
import type { EventStore } from '../../../src/eventstore/port.js';
import { exclusionRules } from '../../../src/exclusions/rules.js';
import { recordLost, recordStored } from '../../../src/jobs/content/record-content.js';
import { reusableFinder } from '../../../src/jobs/deciding/find-reusable.js';
import { resolveRequest } from '../../../src/jobs/deciding/wanted.js';
import { logAsOf } from '../../../src/jobs/reading/context-as-of.js';
import { openExclusionsBench } from '../../support/exclusions.js';
import { makeProject } from '../../support/project.js';

test('a loss that is recorded while a decision is taken is no part of it, as an audit finds too', async (t) => {
  const project = makeProject();
  // As a store that others write too: what is chosen is looked up in its stream.
  const shared = (store: EventStore): EventStore => ({ ...store, exclusive: false });
  const bench = await openExclusionsBench({ project: project.repository.path }, shared);
  t.teardown(async () => {
    await bench.close();
    project.repository.dispose();
  });
  const context = { ...bench.context, sharesRuns: true };
  const ada = bench.caller('ada');
  const commit = project.repository.git('rev-parse', 'main').trim();
  const job = await bench.request({ repository: 'project', commit, parameters: {} });
  await bench.start(job);
  await bench.settle();
  const digest = create(DigestSchema, { hash: 'a'.repeat(64), sizeBytes: 1n, kind: ContentKind.TREE });
  let lostAt = 0;

  /** In the midst of the decision the job ends, and its output is lost. */
  async function endAndLose(): Promise<void> {
    const output = addressOf(digest);
    await context.streams.execute(bench.caller('worker'), job.uuid, {
      kind: 'complete',
      worker: 'worker',
      output,
      log: 'log',
      now: 0,
    });
    const stored = { digest, job: job.uuid, attempt: 1, totalBytes: 1, outputV1: '', storeId: '' };
    await recordStored(context, ada, stored);
    const reason = ContentLossReason.NOT_FOUND;
    await recordLost(context, ada, { digest, reason, missing: digest, path: '', storeId: '', message: '' });
    await bench.settle();
    lostAt = await context.store.end();
  }
  const streams = {
    ...context.streams,
    async load(uuid: string) {
      if (lostAt === 0) await endAndLose();
      return context.streams.load(uuid);
    },
  };
  const request = create(CreateJobRequestSchema, {
    repository: 'project',
    script: 'run.sh',
    scriptVersion: 'main',
    findOrCreate: true,
    leaveLfsPointers: true,
    leaveSubmodules: true,
  });
  const wanted = await resolveRequest(context, ada, request);
  const { decision, basis } = await reusableFinder({ ...context, streams }, exclusionRules(context))(wanted);
  t.true(basis.position < lostAt);
  t.is(decision.chosen?.uuid, job.uuid);

  await context.history.waitFor(lostAt);
  const then = { ...context, ...logAsOf(basis.position, context.history.at(basis.position)), streams };
  const again = await reusableFinder(then, exclusionRules(context))(wanted);
  t.deepEqual(
    again.decision.verdicts.map(({ ruledOut }) => ruledOut?.rule),
    decision.verdicts.map(({ ruledOut }) => ruledOut?.rule),
  );

  // The next one is taken from what was recorded, and knows it.
  const next = await reusableFinder(context, exclusionRules(context))(wanted);
  t.is(next.decision.chosen, undefined);
  t.is(next.decision.verdicts[0]?.ruledOut?.rule, Rule.OUTPUT_LOST);
});

test('losses are told as they were known at a position', (t) => {
  const losses: readonly Loss[] = [
    { from: 3, until: 5, detail: 'a' },
    { from: 7, until: 9, detail: 'b' },
  ];
  const upTo = (position: number) => lossesUpTo(losses, position);
  t.deepEqual(upTo(2), []);
  t.deepEqual(upTo(3), [{ from: 3, detail: 'a' }]);
  t.deepEqual(upTo(5), [{ from: 3, until: 5, detail: 'a' }]);
  t.deepEqual(upTo(8), [
    { from: 3, until: 5, detail: 'a' },
    { from: 7, detail: 'b' },
  ]);
  t.deepEqual(upTo(9), losses);
});
