import test from 'ava';
import { startTestServer } from '../support/memoir.js';

const hash = (n: number) => `sha256:${n.toString(16).padStart(64, '0')}`;

test('images are registered, listed, resolved and forgotten', async (t) => {
  const { run, repository } = await startTestServer(t);
  repository.commit({ x: '#!/bin/sh\n' });
  const none = await run(['images']);
  t.deepEqual([none.code, none.out, none.err], [0, '', 'no images\n']);

  const registered = await run(['image', 'register', 'team/app', hash(1), '--tag', 'v1']);
  t.is(registered.code, 0, registered.err);
  t.regex(
    registered.out,
    new RegExp(`^locator +team/app@${hash(1)}\nhash +${hash(1)}\nrepository +team/app\ntag +v1\n`),
  );
  const second = await run([
    'image',
    'register',
    'team/app',
    hash(2),
    '--tag',
    'v1',
    '--locator',
    'keep:2+1',
    '--json',
  ]);
  t.is(JSON.parse(second.out).image.locator, 'keep:2+1');

  const resolved = await run(['image', 'resolve', 'team/app', '--tag', 'v1', '--json']);
  t.is(JSON.parse(resolved.out).locator, 'keep:2+1');
  const job = await run(['submit', '--repository', 'demo', '--script', 'x', '--docker-image', 'team/app:v1', '--json']);
  t.is(JSON.parse(job.out || '{}').job?.docker_image_locator, 'keep:2+1', job.err);

  const forgotten = await run(['image', 'forget', 'keep:2+1', '--reason', 'it was broken']);
  t.is(forgotten.out, 'forgot keep:2+1\n');
  t.true((await run(['image', 'resolve', 'team/app'])).out.includes(hash(1)));

  const list = await run(['images', '--repository', 'team/app', '--forgotten']);
  const lines = list.out.trimEnd().split('\n');
  t.regex(lines[0] ?? '', /^REPOSITORY +TAG +REGISTERED +FORGOTTEN +LOCATOR$/);
  t.regex(lines[1] ?? '', /^team\/app +v1 .*keep:2\+1$/);
  t.regex(lines[2] ?? '', /^team\/app +v1 /);
  const json = await run(['images', '--json', '--limit', '1']);
  t.is(JSON.parse(json.out).image.locator, `team/app@${hash(1)}`);

  const unknown = await run(['image', 'resolve', 'nobody']);
  t.not(unknown.code, 0);
  t.regex(unknown.err, /docker_image "nobody" names no registered image\n {2}reason: UNKNOWN_IMAGE/);
  const bad = await run(['image', 'register', 'Team', hash(1)]);
  t.regex(bad.err, /repository "Team" is no name .*\n {2}reason: BAD_IMAGE_REPOSITORY\n {2}field: repository/);
  t.not((await run(['image', 'register', 'team/app'])).code, 0);
  t.regex((await run(['image', '--help'])).out, /register.*\n.*forget.*\n.*resolve/s);
});
