import { MemoirError } from '../../domain/errors.js';
import { type Checkpoint, openCheckpoint, parseCheckpoint } from '../../domain/log-tree/checkpoint.js';
import type { LeafPage } from '../../domain/log-tree/leaf-page.js';
import { parseNote } from '../../domain/log-tree/signed-note.js';
import type { VerifierKey } from '../../domain/log-tree/verifier-key.js';
import type { Position } from '../../eventstore/port.js';
import type { RootsOfPages } from './roots-of-pages.js';

/** A checkpoint that an auditor held, already verified by a key that he trusts. */
export type HeldCheckpoint = { readonly source: string; readonly checkpoint: Checkpoint };

/** What a checkpoint says of the log. */
export type CheckedCheckpoint = Checkpoint & {
  /** Where the checkpoint is from: a file, or a place in the log. */
  readonly source: string;
  /**
   * `holds`: the log is just that up to there. `broken`: it is not. `beyond`: it has fewer events. `unchecked`: it is recorded too long
   * after what it is of.
   */
  readonly verdict: 'holds' | 'broken' | 'beyond' | 'unchecked';
  /** Position of the last event that it is of, as far as the log has it. */
  readonly position: Position;
  /** Whether a key that was given signed it. */
  readonly trusted: boolean;
};

/** The checking of checkpoints along the way through a log. */
export type CheckpointChecks = {
  /** Checks those held whose size the log has just passed, and those that the page records. To be called after the tree has the page. */
  take(page: LeafPage): void;
  /** What all of them say, when the log has ended: by size. */
  finish(): readonly CheckedCheckpoint[];
  /** Events that claim to record a checkpoint but do not, each with why. */
  forged(): readonly { readonly position: Position; readonly why: string }[];
};

/** Most forged checkpoints that are told. */
const mostForged = 1_000;

/** Starts at the beginning of a log, of which `roots` is the tree. */
export function checkCheckpoints(
  roots: RootsOfPages,
  held: readonly HeldCheckpoint[],
  keys: readonly VerifierKey[],
): CheckpointChecks {
  const waiting = held.toSorted((one, other) => one.checkpoint.size - other.checkpoint.size);
  const checked: CheckedCheckpoint[] = [];
  const forged: { position: Position; why: string }[] = [];

  function check(source: string, checkpoint: Checkpoint, trusted: boolean): void {
    const at = roots.rootAt(checkpoint.size);
    const missing = checkpoint.size > roots.size() ? 'beyond' : 'unchecked';
    const verdict = at ? (Buffer.compare(at.root, checkpoint.root) === 0 ? 'holds' : 'broken') : missing;
    checked.push({ ...checkpoint, source, verdict, position: at?.position ?? 0, trusted });
  }

  function checkHeld(all: boolean): void {
    while (waiting[0] && (all || waiting[0].checkpoint.size <= roots.size())) {
      const { source, checkpoint } = waiting.shift() as HeldCheckpoint;
      check(source, checkpoint, true);
    }
  }

  return {
    take(page) {
      checkHeld(false);
      for (const { index, data } of page.checkpoints) {
        const position = page.positions[index] as Position;
        try {
          const { checkpoint, trusted } = recordedCheckpoint(data, keys);
          check(`position ${position}`, checkpoint, trusted);
        } catch (error) {
          if (forged.length < mostForged) forged.push({ position, why: (error as Error).message });
        }
      }
    },
    finish() {
      checkHeld(true);
      return checked.toSorted((one, other) => one.size - other.size);
    },
    forged: () => forged,
  };
}

/** @throws Error if the text is no CheckpointSigned, MemoirError if its note is none or is forged */
function recordedCheckpoint(
  data: string,
  keys: readonly VerifierKey[],
): { readonly checkpoint: Checkpoint; readonly trusted: boolean } {
  const { note } = JSON.parse(data) as { readonly note?: unknown };
  if (typeof note !== 'string') throw new Error('it has no note');
  try {
    return { checkpoint: openCheckpoint(note, keys), trusted: true };
  } catch (error) {
    if (!(error instanceof MemoirError) || error.reason !== 'UNKNOWN_KEY') throw error;
    return { checkpoint: parseCheckpoint(parseNote(note).text), trusted: false };
  }
}
