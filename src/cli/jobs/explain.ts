import { Command } from 'commander';
import { type Decision, Outcome, Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { type ExplainReuseResponse, ExplainReuseResponseSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { stateName } from '../../domain/job.js';
import { ruleName } from '../../domain/reuse.js';
import { type AsOfOptions, withAsOf } from '../as-of.js';
import { withClients } from '../client.js';
import { integer, type RemoteOptions, remote, withJson } from '../options.js';
import { decisionLine } from '../text/decision-text.js';
import { nearMissLine } from '../text/near-miss-text.js';
import { printLine, printMessage } from '../text/output.js';
import { printable } from '../text/printable.js';
import { styled } from '../text/style.js';
import { table } from '../text/table.js';
import { type JobRequestOptions, jobRequest, requestOf } from './job-request.js';
import { namingLargest } from './too-large.js';

type ExplainOptions = RemoteOptions &
  JobRequestOptions &
  AsOfOptions & { readonly limit: number; readonly json?: boolean };

/** `memoir explain`. */
export function explainCommand(): Command {
  const command = jobRequest(
    new Command('explain').description('tell what submit would be answered with and why; nothing is recorded'),
  ).option('--limit <number>', 'most candidates to print', integer(1, 10_000), 100);
  return remote(withJson(withAsOf(command))).action(async (options: ExplainOptions) => {
    const request = await requestOf(options);
    await withClients(options, async (clients) => {
      const { limit: maxCandidates, asOf } = options;
      const asked = { request, maxCandidates, ...(asOf && { asOf }) };
      const answer = await clients.jobs.explainReuse(asked, clients.unary).catch((error: unknown) => {
        throw namingLargest(error, request);
      });
      if (options.json) await printMessage(ExplainReuseResponseSchema, answer);
      else await printLine(explanation(answer));
    });
  });
}

/** The explanation as people read it: the answer first, then what names resolved to, then how the candidates narrowed down. */
function explanation({ decision, nearMisses }: ExplainReuseResponse): string {
  if (!decision) throw new Error('the server answered without a decision');
  const reused = decision.outcome !== Outcome.CREATED_NO_MATCH;
  const answer = reused ? styled('green', 'would be reused') : styled('yellow', 'would be new');
  return [
    `${answer} ${printable(decision.uuid)}`,
    `  why: ${decisionLine(decision)}`,
    ...resolutionLines(decision),
    ...funnelLines(decision),
    ...candidateLines(decision),
    ...nearMissLines(nearMisses),
  ].join('\n');
}

function resolutionLines({ resolutions }: Decision): readonly string[] {
  if (resolutions.length === 0) return [];
  const rows = resolutions.map((one) => [printable(one.field), printable(one.given), printable(one.resolved)]);
  return ['', table(['NAME', 'GIVEN', 'RESOLVED TO'], rows)];
}

function funnelLines({ candidateCount, funnel }: Decision): readonly string[] {
  const rows = funnel.map(({ rule, ruledOut, left }) => [ruleName(rule), String(ruledOut), String(left)]);
  return ['', table(['RULE', 'RULED OUT', 'LEFT'], [['candidates', '', String(candidateCount)], ...rows])];
}

function nearMissLines(nearMisses: ExplainReuseResponse['nearMisses']): readonly string[] {
  if (nearMisses.length === 0) return [];
  return ['', styled('bold', 'NEAREST'), ...nearMisses.map(nearMissLine)];
}

function candidateLines({ candidates, candidateCount }: Decision): readonly string[] {
  if (candidates.length === 0) return [];
  const rows = candidates.map((one) => [
    printable(one.uuid),
    stateName(one.state),
    one.ruledOutBy === Rule.UNSPECIFIED ? styled('green', 'the answer') : ruleName(one.ruledOutBy),
    printable(one.detail),
  ]);
  const more = candidateCount - candidates.length;
  return [
    '',
    table(['CANDIDATE', 'STATE', 'RULED OUT BY', 'BECAUSE'], rows),
    ...(more > 0 ? [`and ${more} more`] : []),
  ];
}
