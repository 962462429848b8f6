import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type NearMiss, NearMissSchema } from '../../../gen/memoir/jobs/v1/near_miss_pb.js';
import type { NearMiss as Found } from '../../jobs/reading/near-misses.js';
import { cut } from '../status.js';

/** Most differences that are told of a job, and most characters of each value. */
const most = { differences: 20, characters: 200 };

/** Near misses as answers have them. */
export function nearMissMessages(found: readonly Found[]): NearMiss[] {
  return found.map(({ row, differences, apart }) =>
    create(NearMissSchema, {
      uuid: row.uuid,
      state: row.state,
      createdAt: timestampFromMs(row.createdAt),
      differences: differences.slice(0, most.differences).map(({ field, pointer, past, asked }) => ({
        field,
        pointer: cut(pointer, most.characters),
        ...(past !== undefined && { past: cut(past, most.characters) }),
        ...(asked !== undefined && { asked: cut(asked, most.characters) }),
      })),
      differenceCount: differences.length,
      ...(apart && { commitsAhead: apart.ahead, commitsBehind: apart.behind }),
    }),
  );
}
