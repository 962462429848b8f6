import { type Command, Help, type Option } from 'commander';

const uuid = '9cd9ea37';

/** Examples of each command, by its words after `memoir`. A test holds every command against this, and every example against the command. */
export const examples: Readonly<Record<string, readonly string[]>> = {
  submit: [
    'memoir submit --repository demo --script run.sh -p n=3 --wait',
    'memoir submit --repository demo --script run.sh -p n=3 --supersede --wait',
    'memoir submit --repository demo --script run.sh --script-version v1.2 --parameters run.json --submit-id nightly-0412',
    'memoir submit --repository demo --script run.sh --minimum-script-version v1.0 -p n=3',
    'memoir submit --repository demo --script run.sh -p reads=@put:reads.fastq',
    'memoir submit --repository demo --script analysis/run.sh --code analysis --code lib -p n=3',
    'memoir submit --repository demo --script roll.sh --nondeterministic',
    'memoir submit --from requests.jsonl --repository demo --script run.sh',
  ],
  run: ['memoir run --repository demo --script run.sh -p n=3 --to results'],
  explain: [
    'memoir explain --repository demo --script run.sh -p n=4',
    'memoir explain --repository demo --script run.sh -p n=4 --as-of 12h',
  ],
  get: [`memoir get ${uuid}`, `memoir get ${uuid} --as-of 2026-01-31T12:00:00Z --json`],
  list: [
    'memoir list --limit 20 --wide',
    `memoir list --filter '["labels.team","=","imaging"]'`,
    'memoir list --requested-by ada',
    `memoir list --filter '["state","=","Failed"]' --select script,failure_reason`,
    `memoir list --filter '["created_at",">","2026-01-31T00:00:00Z"]' --order-by "priority desc" --count`,
  ],
  queue: ['memoir queue', 'memoir queue --size'],
  pause: [`memoir pause 'genome/*' --reason "the disk is being moved"`],
  resume: [`memoir resume 'genome/*'`],
  pauses: ['memoir pauses'],
  watch: [`memoir watch ${uuid}`, `memoir watch ${uuid} --json`],
  'output list': [
    `memoir output list ${uuid}`,
    `memoir output list ${uuid} plots --top --json`,
    `memoir output list ${uuid} --attempt 1`,
  ],
  'output cat': [`memoir output cat ${uuid} plots/summary.csv`],
  'output get': [`memoir output get ${uuid} --to results`, `memoir output get ${uuid} plots --to results --overwrite`],
  'output log': [`memoir output log ${uuid} --attempt 1`],
  put: ['memoir put reads.fastq', 'memoir put reads/ reference.fa --json'],
  'content usage': ['memoir content usage'],
  'content verify': ['memoir content verify'],
  'content import': ['memoir content import /var/lib/memoir-worker/store'],
  'content gc': ['memoir content gc --dry-run'],
  'content erase': [`memoir content erase sha256:${'3'.repeat(64)} --reason "it names a patient"`],
  pin: [`memoir pin ${uuid}`],
  unpin: [`memoir unpin ${uuid}`],
  log: [`memoir log ${uuid}`, `memoir log ${uuid} --no-follow`],
  history: [
    `memoir history ${uuid}`,
    'memoir history --repository demo --since 7d',
    'memoir history --by ada --until 2026-01-31',
  ],
  savings: [
    'memoir savings --since 30d --by script',
    'memoir savings --by day,repository --repository demo --since 2026-01-01 --until 2026-01-31 --json',
  ],
  diff: [`memoir diff ${uuid} 3f2a11c0`, `memoir diff ${uuid} 3f2a11c0 --differences 1000 --json`],
  lineage: [`memoir lineage ${uuid}`, `memoir lineage ${uuid} --up --depth 3`, `memoir lineage ${uuid} --down --dot`],
  tail: [
    'memoir tail',
    `memoir tail --from 12h --type JobFailed --repository 'genome/*'`,
    'memoir tail --cloudevents --resume /var/lib/feed/token',
  ],
  cancel: [
    `memoir cancel ${uuid}`,
    `memoir cancel ${uuid} --cascade`,
    `memoir cancel ${uuid} --interest nightly-17`,
    `memoir cancel --filter '["labels.study","=","pilot"]' --dry-run`,
  ],
  update: [
    `memoir update ${uuid} --priority 10`,
    `memoir update ${uuid} --description "for the paper" --label paper=2026`,
  ],
  delete: [`memoir delete ${uuid}`],
  retry: [`memoir retry ${uuid}`, `memoir retry --filter '["failure_reason","=","LEASE_EXPIRED"]' --dry-run`],
  check: [`memoir check ${uuid} --runs 3`, `memoir check ${uuid} --list --json`],
  'repos list': ['memoir repos list', 'memoir repos list --json'],
  'repos add': [
    'memoir repos add genome/tools /srv/git/tools.git',
    'memoir repos add genome/maps https://git.example.org/maps.git --credential forge',
  ],
  'repos remove': ['memoir repos remove genome/tools'],
  resolve: ['memoir resolve demo v1.2', 'memoir resolve demo main~3'],
  code: [`memoir code ${uuid}`, 'memoir code main --repository demo analysis lib'],
  range: ['memoir range demo main --minimum v1.0 --exclude v1.1', 'memoir range demo --minimum v1.0 --count'],
  images: ['memoir images', 'memoir images --repository arvados/jobs --forgotten'],
  'image register': [
    'memoir image register arvados/jobs sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d --tag 2.7',
  ],
  'image forget': ['memoir image forget arvados/jobs:2.7 --reason "built from the wrong branch"'],
  'image resolve': ['memoir image resolve arvados/jobs:2.7', 'memoir image resolve arvados/jobs --tag 2.7'],
  exclude: [
    `memoir exclude ${uuid} --reason "the disk was full"`,
    'memoir exclude --repository demo --commit v1.1 --reason "reads the wrong column" --dry-run',
    'memoir exclude --repository demo --introduced-by 3b18e512 --fixed-by v1.4 --cascade --reason "rounds the wrong way"',
    'memoir exclude --output sha256:e0ee8bb5 --lost --reason "disk 7 died"',
    'memoir exclude worker farm --name node-17 --from 2026-01-31 --until 12h --cascade --reason "bad RAM" --dry-run',
  ],
  reinstate: ['memoir reinstate 5d2f7a90-58cc-4372-a567-0e02b2c3d479 --reason "it was right after all"'],
  exclusions: ['memoir exclusions', 'memoir exclusions --repository demo --reinstated'],
  'audit checkpoint': ['memoir audit checkpoint > today.note'],
  'audit key': ['memoir audit key > memoir.key'],
  'audit consistency': ['memoir audit consistency today.note --key memoir.key > tomorrow.note'],
  'audit inclusion': ['memoir audit inclusion 4711 --checkpoint today.note --key memoir.key'],
  'audit verify': [
    'memoir audit verify --data-dir ./data --checkpoint today.note --key memoir.key',
    'memoir audit verify --export log.jsonl.gz --checkpoint today.note --key memoir.key',
  ],
  'audit decisions': ['memoir audit decisions --data-dir ./data --repository demo=/srv/git/demo.git'],
  'audit rebuild': ['memoir audit rebuild --data-dir ./data'],
  'audit foreign': ['memoir audit foreign --data-dir ./data'],
  serve: [
    'memoir serve --data-dir ./data --repository demo=/srv/git/demo.git',
    'memoir serve --config /etc/memoir/memoir.toml --log-level debug',
  ],
  health: [
    'memoir health',
    'memoir health --server grpcs://memoir.example.org --tls-ca ca.pem --timeout 2',
    'memoir health --live --json',
  ],
  workers: ['memoir workers', 'memoir workers --seen-within 600'],
  drain: ['memoir drain cellar-1 --reason "new disks"', 'memoir drain cellar-1 --of worker@cellar'],
  undrain: ['memoir undrain cellar-1'],
  worker: [
    'memoir worker --repository demo=/srv/git/demo.git --jobs 2',
    'memoir worker --repository demo=/srv/git/demo.git --once',
    'memoir worker --repository demo=/srv/git/demo.git --store-dir ./results',
  ],
  'store verify': ['memoir store verify --store-dir ./results', 'memoir store verify --store-dir ./results --jobs'],
  'token make': ['memoir token make --principal ci --expires 90d --file /etc/memoir/tokens.json > ci.token'],
  'token list': ['memoir token list --config /etc/memoir/memoir.toml'],
  'token revoke': [
    'memoir token revoke 3fa94b1c02de --file /etc/memoir/tokens.json',
    'memoir token revoke --principal ci --file /etc/memoir/tokens.json',
  ],
  'policy check': ['memoir policy check /etc/memoir/policy.toml'],
  'policy explain': ['memoir policy explain /etc/memoir/policy.toml --principal token:ci --repository genome/align'],
  login: [
    'memoir login --server grpcs://memoir.example.org --tls-ca ca.pem --token-file ci.token',
    'memoir login --server grpcs://memoir.example.org --profile work',
    'memoir login --server grpcs://memoir.example.org --issuer https://id.example.org --client-id memoir-cli',
  ],
  logout: ['memoir logout --profile work'],
  whoami: ['memoir whoami', 'memoir whoami --server grpcs://memoir.example.org --token-file ci.token'],
  export: ['memoir export --data-dir ./data log.jsonl.gz'],
  import: ['memoir import --data-dir ./copy log.jsonl.gz', 'memoir import --dry-run log.jsonl.gz'],
};

/**
 * Completes the help of a command and of those under it: what is required is marked, and examples follow.
 * @param words of the command after `memoir`; none for that itself
 */
export function completeHelp(command: Command, words: readonly string[] = []): void {
  command.configureHelp({ ...command.configureHelp(), optionDescription });
  const own = examples[words.join(' ')];
  if (own) command.addHelpText('after', `\nExamples:\n${own.map((line) => `  ${line}`).join('\n')}`);
  for (const below of command.commands) completeHelp(below, [...words, below.name()]);
}

function optionDescription(option: Option): string {
  const described = new Help().optionDescription(option);
  return option.mandatory && option.defaultValue === undefined ? `${described} (required)` : described;
}
