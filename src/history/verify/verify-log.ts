import { alignLeaves, type LeafRun } from '../../domain/log-tree/align-leaves.js';
import type { LeafPage } from '../../domain/log-tree/leaf-page.js';
import { tileWidth } from '../../domain/log-tree/tiles.js';
import type { VerifierKey } from '../../domain/log-tree/verifier-key.js';
import type { Position } from '../../eventstore/port.js';
import { type CheckedCheckpoint, checkCheckpoints, type HeldCheckpoint } from './check-checkpoints.js';
import { classifyGaps } from './classify-gaps.js';
import type { Damage } from './damage.js';
import type { KeptTree } from './kept-tree.js';
import type { LogSource } from './log-source.js';
import { rootsOfPages } from './roots-of-pages.js';

/** What a log is verified by. */
export type Evidence = {
  /** Checkpoints that an auditor held. */
  readonly held: readonly HeldCheckpoint[];
  /** Keys that checkpoints in the log are verified with. */
  readonly keys: readonly VerifierKey[];
  /** The tree that the server kept, by which damage is located; it is itself believed only where checkpoints confirm it. */
  readonly kept?: KeptTree | undefined;
};

/** What the verification found. */
export type VerifiedLog = {
  /** How many events the log has, the position of the last and the root of the tree over them. */
  readonly events: number;
  readonly end: Position;
  readonly root: Buffer;
  readonly checkpoints: readonly CheckedCheckpoint[];
  /** Of so many events, from the first on, a checkpoint by a key that was given proves that they are what they were. */
  readonly provenEvents: number;
  /** How the kept tree stands to the log; `wrong` if a checkpoint proves that it is the tree that is not right. */
  readonly kept: 'none' | 'agrees' | 'differs' | 'wrong' | 'unusable';
  /** Why the kept tree is unusable; empty otherwise. */
  readonly keptProblem: string;
  readonly damage: readonly Damage[];
};

/** Most events whose stream and revision are looked up for the report, and most faults of single events that are told. */
const mostNamed = 1_000;

/**
 * Hashes a whole log again and compares it with the evidence. What is wrong with single events, or with the kept tree, does not end it.
 * @throws what the source throws when it cannot be read at all
 */
export async function verifyLog(
  source: LogSource,
  { held, keys, kept }: Evidence,
  onProgress: (events: number) => void = () => undefined,
): Promise<VerifiedLog> {
  const roots = rootsOfPages();
  const checks = checkCheckpoints(roots, held, keys);
  const comparison = kept && kept.size > 0 ? compareWith(kept) : undefined;
  const faults = singleFaults(source.dense);
  let end: Position = 0;
  for await (const page of source.pages()) {
    roots.take(page);
    checks.take(page);
    faults.take(page);
    comparison?.take(page);
    end = page.positions.at(-1) ?? end;
    onProgress(roots.size());
  }
  const checkpoints = checks.finish();
  const compared = comparison?.finish(checkpoints, roots.size());
  const located = faults.with(compared?.damage ?? []);
  const damage: Damage[] = [
    ...located,
    ...source.problems().map((detail) => damageAt('stray', 0, detail)),
    ...checks.forged().map(({ position, why }) => damageAt('forged', position, why)),
    ...unlocated(checkpoints, located, roots.size(), end),
  ].sort((one, other) => one.from - other.from);
  return {
    events: roots.size(),
    end,
    root: roots.root(),
    checkpoints,
    provenEvents: provenOf(checkpoints),
    kept: compared?.verdict ?? 'none',
    keptProblem: comparison?.problem() ?? '',
    damage: await named(damage, source),
  };
}

function damageAt(kind: Damage['kind'], position: Position, detail: string): Damage {
  return { kind, from: position, to: position, count: 1, proven: true, detail };
}

/** Up to what size trusted checkpoints confirm a tree, of which `confirms` tells whether one does: below the first that does not. */
function provenSize(
  checkpoints: readonly CheckedCheckpoint[],
  confirms: (checkpoint: CheckedCheckpoint, index: number) => boolean,
): number {
  let proven = 0;
  let broken = Number.POSITIVE_INFINITY;
  const confirmed: number[] = [];
  for (const [i, checkpoint] of checkpoints.entries()) {
    if (!checkpoint.trusted || checkpoint.verdict === 'unchecked') continue;
    if (confirms(checkpoint, i)) confirmed.push(checkpoint.size);
    else broken = Math.min(broken, checkpoint.size);
  }
  for (const size of confirmed) if (size < broken) proven = Math.max(proven, size);
  return proven;
}

const provenOf = (checkpoints: readonly CheckedCheckpoint[]) =>
  provenSize(checkpoints, ({ verdict }) => verdict === 'holds');

/** Compares a log with the tree that was kept of it. */
function compareWith(kept: KeptTree) {
  let tile = 0;
  let problem: unknown;
  const next = (): LeafRun | undefined => {
    if (tile * tileWidth >= kept.size) return undefined;
    return kept.tile(tile++);
  };
  const aligner = alignLeaves({ next });

  /** A kept tree that cannot be read is of no use, but no reason to give up on the log. */
  function guarded<T>(work: () => T): T | undefined {
    if (problem !== undefined) return undefined;
    try {
      return work();
    } catch (error) {
      problem = error;
      return undefined;
    }
  }

  return {
    problem: () => (problem === undefined ? '' : (problem as Error).message),
    take: (page: LeafPage) => void guarded(() => aligner.take(page)),
    finish(checkpoints: readonly CheckedCheckpoint[], log: number) {
      const found = guarded(() => {
        const differences = classifyGaps(aligner.finish(), { kept: kept.size, log });
        const sizes = checkpoints.map(({ size }) => size);
        const keptRoots = differences.length > 0 ? kept.roots(sizes) : [];
        const isConfirmed = ({ root }: CheckedCheckpoint, i: number) => {
          const keptRoot = keptRoots[i];
          return keptRoot !== undefined && Buffer.compare(keptRoot, root) === 0;
        };
        return { differences, keptProven: provenSize(checkpoints, isConfirmed) };
      });
      if (!found) return { damage: [], verdict: 'unusable' as const };
      const { differences, keptProven } = found;
      const logProven = provenOf(checkpoints);
      // Up to there it is the log that is right, so that the tree is not.
      const ofLog = differences.filter((one) => Math.max(one.expected, one.found) >= logProven);
      const damage = ofLog.map(({ damage: one, expected }): Damage => ({ ...one, proven: expected < keptProven }));
      const verdict = differences.length === 0 ? 'agrees' : ofLog.length < differences.length ? 'wrong' : 'differs';
      return { damage, verdict } as const;
    },
  };
}

/** What is wrong with single events of a log, and gaps in its positions where it can have none. */
function singleFaults(dense: boolean) {
  const faults: Damage[] = [];
  let count = 0;
  let before: Position = 0;
  function note(kind: Damage['kind'], from: Position, to: Position): void {
    count++;
    if (faults.length < mostNamed) faults.push({ kind, from, to, count: to - from + 1, proven: true, detail: '' });
  }
  return {
    take({ positions, faults: found }: LeafPage): void {
      for (const { index, kind } of found) note(kind, positions[index] as Position, positions[index] as Position);
      if (dense && positions.at(-1) !== before + positions.length) {
        for (const position of positions) {
          if (position !== before + 1) note('missing', before + 1, position - 1);
          before = position;
        }
      }
      before = positions.at(-1) ?? before;
    },
    /** These and what the kept tree tells; what both tell of an event is told once. */
    with(located: readonly Damage[]): Damage[] {
      const unreadable = new Set(faults.filter(({ kind }) => kind === 'unreadable').map(({ from }) => from));
      const told = (fault: Damage) => fault.kind !== 'unreadable' && located.some((one) => explains(one, fault));
      const all = [
        ...located.filter(({ kind, from }) => kind !== 'altered' || !unreadable.has(from)),
        ...faults.filter((fault) => !told(fault)),
      ];
      const more = count - faults.length;
      return more > 0 ? [...all, { ...damageAt('checksum', before, 'more, not told one by one'), count: more }] : all;
    },
  };
}

/** Whether what was done to the log is why a single event, or a gap, looks as it does. */
function explains({ kind, from, to, movedTo }: Damage, fault: Damage): boolean {
  if (kind === 'moved' && fault.kind === 'checksum') return movedTo === fault.from;
  if (from > fault.from || to < fault.to) return false;
  if (fault.kind === 'checksum') return kind === 'altered' || kind === 'inserted';
  return kind === 'dropped' || kind === 'truncated' || kind === 'moved';
}

/** What checkpoints tell and nothing located explains. */
function unlocated(
  checkpoints: readonly CheckedCheckpoint[],
  located: readonly Damage[],
  size: number,
  end: Position,
): Damage[] {
  const all: Damage[] = [];
  const broken = checkpoints.find(({ verdict }) => verdict === 'broken');
  const good = checkpoints.filter(({ verdict, size: at }) => verdict === 'holds' && at < (broken?.size ?? 0)).at(-1);
  const explained = located.some(({ from, to }) => to > (good?.position ?? 0) && from <= (broken?.position ?? 0));
  if (broken && !explained) {
    const from = (good?.position ?? 0) + 1;
    const since = good ? `the checkpoint of ${good.size} events holds` : 'no smaller checkpoint holds';
    const detail = `${since}, that of ${broken.size} events does not`;
    all.push({ kind: 'somewhere', from, to: broken.position, count: 1, proven: true, detail });
  }
  const beyond = checkpoints.filter(({ verdict }) => verdict === 'beyond').at(-1);
  if (beyond && !located.some(({ kind }) => kind === 'truncated' || kind === 'dropped')) {
    const count = beyond.size - size;
    const detail = `a checkpoint is of ${beyond.size} events, and the log has ${size}`;
    all.push({ kind: 'truncated', from: end + 1, to: end + count, count, proven: true, detail });
  }
  return all;
}

/** The damage with the events that stand there. */
async function named(damage: readonly Damage[], source: LogSource): Promise<Damage[]> {
  const all: Damage[] = [];
  let count = 0;
  for (const one of damage) {
    const stands = one.count === 1 && !['dropped', 'truncated', 'missing', 'stray', 'somewhere'].includes(one.kind);
    const event = stands && count++ < mostNamed ? await source.eventAt(one.movedTo ?? one.from) : undefined;
    all.push(event ? { ...one, event } : one);
  }
  return all;
}
