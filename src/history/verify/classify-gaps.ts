import type { Gap, LooseLeaf } from '../../domain/log-tree/align-leaves.js';
import type { Damage } from './damage.js';

/** A damage and where it is in the kept tree and in the log, as numbers of leaves. */
export type Difference = { readonly damage: Omit<Damage, 'proven'>; readonly expected: number; readonly found: number };

/** Sizes of the two sequences. */
export type Sizes = { readonly kept: number; readonly log: number };

/**
 * What was done to the log, by where its leaves are not those of the kept tree. A leaf that is missing at one place and stands at another
 * was moved; one in the place of another was altered. What the log has after the end of the kept tree is new.
 */
export function classifyGaps(gaps: readonly Gap[], { kept, log }: Sizes): readonly Difference[] {
  const gone = new Map(gaps.flatMap((gap) => gap.expected).map((leaf) => [leaf.hash, leaf]));
  const come = new Map(gaps.flatMap((gap) => gap.found).map((leaf) => [leaf.hash, leaf]));
  const differences: Difference[] = [];
  for (const [hash, leaf] of gone) {
    const now = come.get(hash);
    if (!now) continue;
    const { position } = leaf;
    const damage = {
      kind: 'moved',
      from: position,
      to: position,
      movedTo: now.position,
      count: 1,
      detail: '',
    } as const;
    differences.push({ damage, expected: leaf.index, found: now.index });
  }
  for (const gap of gaps) {
    const pairs = paired(
      gap.expected.filter(({ hash }) => !come.has(hash)),
      gap.found.filter(({ hash }) => !gone.has(hash)),
    );
    for (const [was, is] of pairs.altered) {
      const detail = was.position === is.position ? '' : `it was at position ${was.position}`;
      const damage = { kind: 'altered' as const, from: is.position, to: is.position, count: 1, detail };
      differences.push({ damage, expected: was.index, found: is.index });
    }
    const atKeptEnd = gap.expectedFrom + gap.expectedCount === kept;
    const atLogEnd = gap.foundFrom + gap.foundCount === log;
    const place = { expected: gap.expectedFrom, found: gap.foundFrom };
    for (const run of runs(pairs.gone)) {
      differences.push({ ...place, damage: damageOf(atKeptEnd && atLogEnd ? 'truncated' : 'dropped', run) });
    }
    if (!atKeptEnd)
      for (const run of runs(pairs.come)) differences.push({ ...place, damage: damageOf('inserted', run) });
    const untold = gap.expectedCount - gap.expected.length;
    const untoldFound = gap.foundCount - gap.found.length;
    const detail = 'about so many after it; they are too many to be told one by one';
    if (untold === 0 && untoldFound > 0 && !atKeptEnd) {
      const from = gap.found.at(-1)?.position ?? 0;
      differences.push({ ...place, damage: { kind: 'inserted', from, to: from, count: untoldFound, detail } });
    }
    if (untold > 0) {
      const from = gap.expected.at(-1)?.position ?? 0;
      const inPlace = gap.foundCount >= gap.expectedCount;
      const kind = inPlace ? 'altered' : atKeptEnd && atLogEnd && gap.foundCount === 0 ? 'truncated' : 'dropped';
      differences.push({ ...place, damage: { kind, from, to: from, count: untold, detail } });
    }
  }
  return differences.sort((one, other) => one.damage.from - other.damage.from);
}

/** Pairs what went with what came: first at the same position, then in order. */
function paired(gone: readonly LooseLeaf[], come: readonly LooseLeaf[]) {
  const byPosition = new Map(come.map((leaf) => [leaf.position, leaf]));
  const altered: [LooseLeaf, LooseLeaf][] = [];
  const used = new Set<LooseLeaf>();
  for (const was of gone) {
    const is = byPosition.get(was.position);
    if (!is) continue;
    altered.push([was, is]);
    used.add(was).add(is);
  }
  const restGone = gone.filter((leaf) => !used.has(leaf));
  const restCome = come.filter((leaf) => !used.has(leaf));
  const more = Math.min(restGone.length, restCome.length);
  for (let i = 0; i < more; i++) altered.push([restGone[i] as LooseLeaf, restCome[i] as LooseLeaf]);
  return { altered, gone: restGone.slice(more), come: restCome.slice(more) };
}

/** Leaves that follow each other, together. */
function runs(leaves: readonly LooseLeaf[]): LooseLeaf[][] {
  const all: LooseLeaf[][] = [];
  for (const leaf of leaves) {
    const last = all.at(-1);
    if (last?.[0] && last[0].index + last.length === leaf.index) last.push(leaf);
    else all.push([leaf]);
  }
  return all;
}

function damageOf(kind: 'truncated' | 'dropped' | 'inserted', run: readonly LooseLeaf[]): Omit<Damage, 'proven'> {
  const [first] = run;
  return { kind, from: first?.position ?? 0, to: run.at(-1)?.position ?? 0, count: run.length, detail: '' };
}
