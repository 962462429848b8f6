import test from 'ava';
import { passedTime } from '../../../src/jobs/content/passed-time.js';

test('time passes as it does, whatever the wall clock says beyond it', (t) => {
  const clock = { wall: 1_000_000, monotonic: 5 };
  const time = passedTime({ now: () => clock.wall, monotonic: () => clock.monotonic });
  const at = (wall: number, monotonic: number) => {
    Object.assign(clock, { wall, monotonic });
    return [time.now(), time.ahead()];
  };
  t.deepEqual(at(1_000_000, 5), [1_000_000, 0]);
  t.deepEqual(at(1_000_700, 705), [1_000_700, 0]);
  t.deepEqual(at(9_000_000, 805), [1_000_800, 7_999_200], 'set ahead');
  t.deepEqual(at(1_000_900, 905), [1_000_900, 0], 'and set right again');
  t.deepEqual(at(500_000, 1_005), [500_000, 0], 'set back: what is younger than it seems stays longer');
});
