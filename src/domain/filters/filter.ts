import type { ScalarKind } from './field.js';
import type { LikePattern } from './like.js';
import type { Requesters } from './requesters.js';

/** What a filter looks at. Plain data, so that it can be sent to another thread. */
export type Target =
  /** A field without parts. */
  | { readonly of: 'field'; readonly field: string; readonly property: string; readonly kind: ScalarKind }
  /** A part of a message, such as runtime_constraints. */
  | {
      readonly of: 'member';
      readonly field: string;
      readonly property: string;
      readonly member: string;
      readonly kind: 'text' | 'number';
      /** True where a message without the part means zero, rather than that the part is absent. */
      readonly zero: boolean;
      /** True of a duration, whose number is that of its seconds, to the millisecond. */
      readonly duration: boolean;
    }
  /** What stands at a path in script_parameters or components. */
  | { readonly of: 'path'; readonly field: string; readonly property: string; readonly path: readonly string[] }
  /** A field that has parts, as a whole. */
  | { readonly of: 'whole'; readonly field: string; readonly property: string }
  /** Every text field. */
  | { readonly of: 'any' };

/** A value that is compared with. Of times, milliseconds since 1970-01-01T00:00Z; of states, their numbers; null for absent. */
export type Scalar = string | number | boolean | null;

/** What a filter asks of the value. Of an absent value only the first, `exists` and their negations can be true. */
export type Test =
  /** The value is one of these; with `negate` it is not. Null among them stands for an absent value. */
  | {
      readonly is: 'one of';
      readonly values: readonly Scalar[];
      readonly negate: boolean;
      /** True of the operator `=`, whose one value is that of every match. */
      readonly exact?: boolean;
    }
  | { readonly is: '<' | '<=' | '>' | '>='; readonly value: string | number }
  | { readonly is: 'like'; readonly pattern: LikePattern }
  /** A text holds this text, or a list has this member. */
  | { readonly is: 'holding'; readonly value: string | number | boolean }
  | { readonly is: 'present'; readonly present: boolean };

/** A filter that was checked. Plain data. */
export type JobFilter = {
  /** Its place in the request, from 0. */
  readonly index: number;
  /** Its text for people, fit to be printed: `script like "%.py"`. */
  readonly text: string;
  readonly target: Target;
  readonly test: Test;
  /** What is said of a job that does not match, in the place of the value that is compared. */
  readonly why?: string;
};

/** What is named by refspecs or images, and stands for a set that changes as commits and images arrive. */
export type NamedSet = {
  readonly index: number;
  readonly text: string;
  readonly field: 'script_version' | 'arvados_sdk_version' | 'docker_image_locator';
  readonly operator: 'in git' | 'not in git' | 'in docker' | 'not in docker';
  readonly names: readonly string[];
};

/** The filters of a request, checked: all must hold. */
export type CheckedFilters = {
  readonly plain: readonly JobFilter[];
  readonly sets: readonly NamedSet[];
  /** Of lists alone. */
  readonly requesters?: Requesters;
};
