import { join } from 'node:path';
import test from 'ava';
import Database from 'better-sqlite3';
import { makeProject } from '../support/project.js';
import { failure } from '../support/refused.js';
import { find, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { until } from '../support/until.js';

const project = makeProject();
test.after.always(() => project.repository.dispose());

test('a read model that cannot be written is told in the log, costs no write, and goes on when it can', async (t) => {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const ada = server.as('ada');
  const other = new Database(join(server.config.data_dir, 'read-model.sqlite'));
  t.teardown(() => other.close());
  other.exec('BEGIN IMMEDIATE');
  const made = await find(ada, { scriptParameters: { trouble: 1 } });
  const uuid = uuidOf(made);
  const { consistencyToken } = made;
  const late = await failure(t, () => ada.jobs.getJob({ uuid, consistencyToken }, { timeoutMs: 500 }));
  t.is(late.code, 4);
  const { msg } = await until('a line in the log', () => server.errors.find((line) => /read model/.test(line.msg)));
  t.is(msg, 'the read model cannot be kept up to date');
  other.exec('ROLLBACK');
  t.is((await ada.jobs.getJob({ uuid, consistencyToken })).job?.uuid, uuid);
  t.is(uuidOf(await find(ada, { scriptParameters: { trouble: 1 } })), uuid);
  t.false((await request(ada)).reused);
  server.errors.length = 0;
});
