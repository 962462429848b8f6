import statusPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/status_pb.js';
import { Fields } from './fields.js';
import { uuidOf } from './read-answer.js';

/** The status of an append that was refused. */
export type Refusal = InstanceType<typeof statusPb.Status>;

/** What the server answers to an append. */
export type AppendAnswer = {
  /** Which append it is that it answers. */
  correlation: string;
  refusal: Refusal | undefined;
  /** Revision of the last event, of an append that it took. */
  revision: number | bigint;
  /** Where in the log that is; undefined if the server does not say, of events that it knew before. */
  commit: number | bigint | undefined;
};

/**
 * A message `BatchAppendResp` of the published protocol (streams.proto).
 * @throws RangeError if it is malformed
 */
export function appendAnswerFrom(bytes: Buffer): AppendAnswer {
  const answer: AppendAnswer = { correlation: '', refusal: undefined, revision: 0, commit: undefined };
  const fields = new Fields(bytes);
  for (let field = fields.next(); field !== 0; field = fields.next()) {
    if (field === 1) answer.correlation = uuidOf(fields);
    else if (field === 2) answer.refusal = statusPb.Status.deserializeBinary(fields.content());
    else if (field === 3) noteSuccess(answer, fields);
    else fields.skip();
  }
  return answer;
}

function noteSuccess(answer: AppendAnswer, fields: Fields): void {
  const end = fields.enter();
  for (let field = fields.next(); field !== 0; field = fields.next()) {
    if (field === 1) answer.revision = fields.number();
    else if (field === 3) answer.commit = commitOf(fields);
    else fields.skip();
  }
  fields.leave(end);
}

function commitOf(fields: Fields): number | bigint {
  const end = fields.enter();
  let commit: number | bigint = 0;
  for (let field = fields.next(); field !== 0; field = fields.next()) {
    if (field === 1) commit = fields.number();
    else fields.skip();
  }
  fields.leave(end);
  return commit;
}
