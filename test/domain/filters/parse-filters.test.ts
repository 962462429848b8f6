import type { JsonValue } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { JobSchema } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError } from '../../../src/domain/errors.js';
import { unfilteredFields } from '../../../src/domain/filters/field.js';
import { filterFromTriple, filtersFromText } from '../../../src/domain/filters/from-triple.js';
import { parseOrder } from '../../../src/domain/filters/job-order.js';
import { parseFilters } from '../../../src/domain/filters/parse-filters.js';

type Triple = [attribute: string, operator: string, operand: JsonValue];

const parse = (...triples: Triple[]) => parseFilters(triples.map((triple) => filterFromTriple(triple)));

function refusal(t: ExecutionContext, call: () => unknown): MemoirError {
  const error = t.throws(call);
  if (!(error instanceof MemoirError)) throw error ?? new Error('nothing was refused');
  t.is(error.code, 'INVALID_ARGUMENT');
  return error;
}

test('every field of a job can be filtered by but those that are named, which are refused', (t) => {
  for (const { name } of JobSchema.fields) {
    if (unfilteredFields.includes(name)) {
      t.regex(refusal(t, () => parse([name, '=', null])).message, /is not a field of a job/);
      continue;
    }
    t.notThrows(() => parse([name, 'exists', true]), name);
    t.notThrows(() => parse([name, '=', null]), name);
  }
});

test('a filter that is wrong is named by its index, and what is wrong by its value', (t) => {
  const cases: [triple: Triple, part: 'attribute' | 'operator' | 'operand', naming: string][] = [
    [['scriptx', '=', 'a'], 'attribute', '"scriptx" is not a field of a job'],
    [['', '=', 'a'], 'attribute', '"" is not a field'],
    [['__proto__', '=', 'a'], 'attribute', '"__proto__" is not a field'],
    [['scriptVersion', '=', 'a'], 'attribute', '"scriptVersion" is not a field'],
    [['script.x', '=', 'a'], 'attribute', '"script.x" names a part of script, which has none'],
    [
      ['runtime_constraints.gpus', '=', 1],
      'attribute',
      'is not a part of runtime_constraints; these are: docker_image,',
    ],
    [['tasks_summary.done.x', '=', 1], 'attribute', '"tasks_summary.done.x" is not a part'],
    [['script_parameters.', '=', 1], 'attribute', '"script_parameters." is not a path'],
    [['script_parameters.a..b', '=', 1], 'attribute', '"script_parameters.a..b" is not a path'],
    [['script_parameters."a', '=', 1], 'attribute', 'is not a path'],
    [['components.a.b', '=', 'x'], 'attribute', 'write components."a.b"'],
    [[`script_parameters${'.a'.repeat(33)}`, '=', 1], 'attribute', 'more than 32 parts deep'],
    [['script', '==', 'a'], 'operator', '"==" is unknown; the attribute takes =, !='],
    [['script', 'LIKE', 'a'], 'operator', '"LIKE" is unknown'],
    [['priority', 'like', 'a'], 'operator', '"like" is not for "priority"'],
    [['state', '<', 'Queued'], 'operator', '"<" is not for "state"'],
    [['nondeterministic', '>', true], 'operator', '">" is not for "nondeterministic"'],
    [['any', '=', 'a'], 'operator', '"=" is not for "any", which takes like, ilike, contains'],
    [['script_parameters', 'like', 'a'], 'operator', '"like" is not for "script_parameters"'],
    [
      ['script', 'in git', 'main'],
      'operator',
      '"in git" is for script_version and arvados_sdk_version, not for "script"',
    ],
    [['script_version', 'in docker', 'x'], 'operator', '"in docker" is for docker_image_locator'],
    [['docker_image_locator', 'not in git', 'x'], 'operator', '"not in git" is for'],
    [['script', '=', 1], 'operand', '1 is a number, not a string'],
    [['script', '=', ['a']], 'operand', '["a"] is a list, not a string'],
    [['script', '<', null], 'operand', 'null has no order'],
    [['script', 'in', 'a'], 'operand', '"a" is no list'],
    [['script', 'in', ['a', 1]], 'operand', '1 is a number'],
    [['script', 'in', [['a']]], 'operand', '["a"] is a list'],
    [['script', 'like', 1], 'operand', '1 is a number'],
    [['script', 'like', 'a\\'], 'operand', 'ends with "\\"'],
    [['script', 'like', 'a'.repeat(1_025)], 'operand', '(1025 characters) is longer than 1024'],
    [['script', 'exists', 1], 'operand', '1 is neither true or false'],
    [['script', 'exists', 'x'], 'operand', '"x" is not true or false, and the attribute has no members'],
    [['tasks_summary', 'exists', 'x'], 'operand', '"x" is not a part of tasks_summary'],
    [['priority', '=', '1'], 'operand', '"1" is a string, not a number'],
    [['priority', '=', true], 'operand', 'true is a boolean, not a number'],
    [['nondeterministic', '=', 'true'], 'operand', '"true" is not true or false'],
    [['created_at', '>', '2026'], 'operand', '"2026" is not an RFC 3339 timestamp'],
    [['created_at', '>', 0], 'operand', '0 is not an RFC 3339 timestamp'],
    [['state', '=', 'queued'], 'operand', '"queued" is not a state'],
    [['state', '=', 1], 'operand', '1 is not a state'],
    [['state', '=', 'JOB_STATE_UNSPECIFIED'], 'operand', 'is not a state'],
    [['script_parameters.a', '=', { b: 1 }], 'operand', 'an object is not a string, number, boolean or null'],
    [['script_parameters', '=', { b: 1 }], 'operand', 'is not null; compare its parts'],
    [['script_parameters.a', '<', true], 'operand', 'true has no order'],
    [['script_parameters.a', 'contains', null], 'operand', 'null cannot be held'],
    [['docker_image_locator', 'in docker', 1], 'operand', '1 holds a number'],
    [['docker_image_locator', 'in docker', ['a', null]], 'operand', 'null, and "in docker" takes'],
    [['docker_image_locator', 'in docker', ''], 'operand', 'empty string'],
    [['script', '=', '\ud800'], 'operand', 'lone surrogate'],
    [['script', 'in', Array(1_001).fill('a')], 'operand', 'is a list of 1001, and 1000 is the limit'],
  ];
  for (const [triple, part, naming] of cases) {
    const error = refusal(t, () => parse(['owner', '=', 'x'], ['script', '=', 'a'], triple));
    t.is(error.field, `filters[2].${part}`, error.message);
    t.is(error.reason, `BAD_FILTER_${part.toUpperCase()}`);
    t.true(error.message.startsWith('filters[2]: '), error.message);
    t.true(error.message.includes(naming), `${error.message} does not hold ${naming}`);
    t.true(error.message.length < 1_000, error.message);
  }
});

test('an operand must be given, and be JSON', (t) => {
  const filter = filterFromTriple(['priority', '=', 1]);
  delete filter.operand;
  t.is(refusal(t, () => parseFilters([filter])).field, 'filters[0].operand');
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const wrong = filterFromTriple(['priority', '=', 1]);
    if (wrong.operand) wrong.operand.kind = { case: 'numberValue', value };
    t.is(refusal(t, () => parseFilters([wrong])).reason, 'BAD_FILTER_OPERAND');
  }
  const many = Array.from({ length: 65 }, () => filterFromTriple(['priority', '=', 1]));
  t.is(refusal(t, () => parseFilters(many)).reason, 'TOO_MANY');
  const names = (count: number) => Array.from({ length: count }, (_, i) => `image-${i}`);
  t.notThrows(() => parse(['docker_image_locator', 'in docker', names(100)]));
  const named = () =>
    parse(['docker_image_locator', 'in docker', names(60)], ['arvados_sdk_version', 'in git', names(41)]);
  t.is(refusal(t, named).reason, 'TOO_MANY');
});

test('a filter on commits needs the filters beside it, and they must agree', (t) => {
  const repository: Triple = ['repository', '=', 'r'];
  const script: Triple = ['script', '=', 's'];
  for (const operator of ['in git', 'not in git']) {
    const git: Triple = ['script_version', operator, 'main'];
    t.notThrows(() => parse(git, repository, script));
    t.notThrows(() => parse(git, repository, script, repository, ['repository', '!=', 'x']));
    t.notThrows(() => parse(['arvados_sdk_version', operator, ['main', 'v1']]));
    const cases: [triples: Triple[], reason: string, naming: string][] = [
      [[git], 'FILTER_NEEDS_ANOTHER', 'needs a filter repository ='],
      [[git, repository], 'FILTER_NEEDS_ANOTHER', 'needs a filter script ='],
      [[git, script], 'FILTER_NEEDS_ANOTHER', 'needs a filter repository ='],
      [[git, script, ['repository', 'in', ['r']]], 'FILTER_NEEDS_ANOTHER', 'repository ='],
      [[git, script, ['repository', '!=', 'r']], 'FILTER_NEEDS_ANOTHER', 'repository ='],
      [[git, script, ['repository', '=', null]], 'FILTER_NEEDS_ANOTHER', 'repository ='],
      [
        [git, repository, script, ['repository', '=', 'x']],
        'FILTERS_CONFLICT',
        '"r" in filters[1] and "x" in filters[3]',
      ],
      [[git, repository, script, ['script', '=', 'x']], 'FILTERS_CONFLICT', '"s" in filters[2] and "x" in filters[3]'],
    ];
    for (const [triples, reason, naming] of cases) {
      const error = refusal(t, () => parse(...triples));
      t.is(error.reason, reason, error.message);
      t.is(error.field, 'filters[0]');
      t.true(error.message.includes(naming), error.message);
    }
  }
});

test('filters are read from triples and from JSON', (t) => {
  const [filter] = filtersFromText('["script","=","hash.py"]');
  t.is(filter?.attribute, 'script');
  t.is(filter?.operator, '=');
  t.deepEqual(filter?.operand?.kind, { case: 'stringValue', value: 'hash.py' });
  t.is(filtersFromText('[["a","=",null],["b","in",[1,true]]]').length, 2);
  t.is(filtersFromText('[]').length, 0);
  for (const text of [
    '',
    'script=hash.py',
    '{}',
    '["a","="]',
    '["a","=",1,2]',
    '[1,"=",1]',
    '[["a","=",1],3]',
    'null',
  ]) {
    const error = refusal(t, () => filtersFromText(text, 'filter'));
    t.is(error.field, 'filter');
    t.true(error.message.includes('["script","=","hash.py"]'), error.message);
  }
});

test('an order is names of fields with a direction', (t) => {
  t.deepEqual(parseOrder(''), [{ field: 'created_at', kind: 'time', descending: true }]);
  t.deepEqual(parseOrder(' priority DESC ,created_at'), [
    { field: 'priority', kind: 'number', descending: true },
    { field: 'created_at', kind: 'time', descending: false },
  ]);
  for (const [text, naming] of [
    ['x', '"x", which is not a field'],
    ['priority,', '"", which is not a field'],
    ['priority down', '"priority down"'],
    ['priority desc asc', '"priority desc asc"'],
    ['priority, priority desc', 'names priority twice'],
    ['script_parameters', 'which has parts'],
    ['tasks_summary desc', 'which has parts'],
    ['priority; DROP TABLE job', '"priority;"'],
    ['uuid,owner,repository,script,state,priority,output,log,submit_id', 'more than 8 keys'],
  ] as const) {
    const error = refusal(t, () => parseOrder(text));
    t.is(error.field, 'order_by');
    t.true(error.message.includes(naming), error.message);
  }
});
