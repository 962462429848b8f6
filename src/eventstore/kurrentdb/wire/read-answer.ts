import { Fields } from './fields.js';

/** An event as the server sends it. */
export type SentEvent = {
  id: string;
  stream: string;
  revision: number | bigint;
  commit: number | bigint;
  type: string | undefined;
  contentType: string | undefined;
  /** When it was recorded: a decimal number of 100 ns since 1970. */
  created: string | undefined;
  data: string;
  metadata: string;
};

/** What matters of a message of a read or a subscription. */
export type ReadAnswer = {
  event: SentEvent | undefined;
  /** Whether the server says that it has begun to follow the log. */
  confirmed: boolean;
  /** Commit position up to which the server has looked at the log. */
  checkpoint: number | bigint | undefined;
};

/**
 * A message `ReadResp` of the published protocol (streams.proto).
 * @throws RangeError if it is malformed
 */
export function readAnswerFrom(bytes: Buffer): ReadAnswer {
  const answer: ReadAnswer = { event: undefined, confirmed: false, checkpoint: undefined };
  const fields = new Fields(bytes);
  for (let field = fields.next(); field !== 0; field = fields.next()) {
    if (field === 1) answer.event = eventOf(fields) ?? answer.event;
    else if (field === 2) {
      answer.confirmed = true;
      fields.skip();
    } else if (field === 3) answer.checkpoint = checkpointOf(fields);
    else fields.skip();
  }
  return answer;
}

/** What a `ReadEvent` holds, but for what links to it. */
function eventOf(fields: Fields): SentEvent | undefined {
  const end = fields.enter();
  let event: SentEvent | undefined;
  for (let field = fields.next(); field !== 0; field = fields.next()) {
    if (field === 1) event = recordedOf(fields);
    else fields.skip();
  }
  fields.leave(end);
  return event;
}

function recordedOf(fields: Fields): SentEvent {
  const end = fields.enter();
  const event: SentEvent = {
    id: '',
    stream: '',
    revision: 0,
    commit: 0,
    type: undefined,
    contentType: undefined,
    created: undefined,
    data: '',
    metadata: '',
  };
  for (let field = fields.next(); field !== 0; field = fields.next()) {
    if (field === 1) event.id = uuidOf(fields);
    else if (field === 2) event.stream = streamOf(fields);
    else if (field === 3) event.revision = fields.number();
    else if (field === 5) event.commit = fields.number();
    else if (field === 6) noteSystem(event, fields);
    else if (field === 7) event.metadata = fields.text();
    else if (field === 8) event.data = fields.text();
    else fields.skip();
  }
  fields.leave(end);
  return event;
}

/** Takes note of an entry of what the server keeps beside an event. */
function noteSystem(event: SentEvent, fields: Fields): void {
  const end = fields.enter();
  let key = '';
  let value = '';
  for (let field = fields.next(); field !== 0; field = fields.next()) {
    if (field === 1) key = fields.text();
    else if (field === 2) value = fields.text();
    else fields.skip();
  }
  fields.leave(end);
  if (key === 'type') event.type = value;
  else if (key === 'content-type') event.contentType = value;
  else if (key === 'created') event.created = value;
}

function streamOf(fields: Fields): string {
  const end = fields.enter();
  let name = '';
  for (let field = fields.next(); field !== 0; field = fields.next()) {
    if (field === 3) name = fields.text();
    else fields.skip();
  }
  fields.leave(end);
  return name;
}

function checkpointOf(fields: Fields): number | bigint {
  const end = fields.enter();
  let commit: number | bigint = 0;
  for (let field = fields.next(); field !== 0; field = fields.next()) {
    if (field === 1) commit = fields.number();
    else fields.skip();
  }
  fields.leave(end);
  return commit;
}

/** A UUID, which servers send as text or as two numbers of 64 bits. */
export function uuidOf(fields: Fields): string {
  const end = fields.enter();
  let id = '';
  for (let field = fields.next(); field !== 0; field = fields.next()) {
    if (field === 1) id = structuredOf(fields);
    else if (field === 2) id = fields.text();
    else fields.skip();
  }
  fields.leave(end);
  return id;
}

function structuredOf(fields: Fields): string {
  const end = fields.enter();
  const halves: (number | bigint)[] = [0, 0];
  for (let field = fields.next(); field !== 0; field = fields.next()) {
    if (field === 1 || field === 2) halves[field - 1] = fields.number();
    else fields.skip();
  }
  fields.leave(end);
  const hex = halves.map((half) => half.toString(16).padStart(16, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
