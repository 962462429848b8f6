import { ContentLossReason } from '../../../gen/memoir/events/v1/events_pb.js';
import type { ContentEvent } from '../events.js';

/** What the events of an output or log that servers keep say of it. */
export type ContentState = {
  readonly stored: boolean;
  /** Whether not all of it is there. */
  readonly lost: boolean;
  /** Whether it must not exist any more; it stays lost then. */
  readonly erased: boolean;
  /** Principals that put it themselves. */
  readonly puts: ReadonlySet<string>;
  /** Stores that it was stored or found in: ids of those of one server alone, empty for one that all reach. */
  readonly stores: ReadonlySet<string>;
};

/** Before its first event. */
export const unknownContent: ContentState = {
  stored: false,
  lost: false,
  erased: false,
  puts: new Set(),
  stores: new Set(),
};

/** What an event makes of it. */
export function evolveContent(state: ContentState, event: ContentEvent): ContentState {
  switch (event.$typeName) {
    case 'memoir.events.v1.ContentStored':
      return {
        ...state,
        stored: true,
        lost: state.erased,
        puts: event.job === '' ? new Set([...state.puts, event.principal]) : state.puts,
        stores: new Set([...state.stores, event.storeId]),
      };
    case 'memoir.events.v1.ContentFound':
      return { ...state, lost: state.erased };
    case 'memoir.events.v1.ContentLost':
      return { ...state, lost: true, erased: state.erased || event.reason === ContentLossReason.ERASED };
  }
}
