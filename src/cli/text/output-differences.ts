import { DifferenceCause, type OutputDifference } from '../../../gen/memoir/jobs/v1/check_pb.js';
import { printable } from './printable.js';
import { table } from './table.js';

/** Where files of two outputs differ: one line each. */
export function outputDifferences(differences: readonly OutputDifference[]): string {
  const lines = differences.map((one) => [
    printable(one.path),
    one.firstByte === undefined ? '' : String(one.firstByte),
    causeText(one),
    printable(one.detail),
  ]);
  return table(['PATH', 'BYTE', 'LIKELY', 'WHAT'], lines);
}

function causeText({ cause }: OutputDifference): string {
  switch (cause) {
    case DifferenceCause.TIME:
      return 'a time';
    case DifferenceCause.PATH:
      return 'a path';
    case DifferenceCause.ORDER:
      return 'an order of lines';
    default:
      return 'unknown';
  }
}
