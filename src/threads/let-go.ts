import { MessageChannel } from 'node:worker_threads';

/** A port whose other end is closed. */
const nowhere = new MessageChannel().port1;
nowhere.close();

/**
 * Frees memory at once, which nobody may use any more. The garbage collector leaves large memory until some 60 MiB of it have come together, and what comes
 * after it is new to the process, which costs as much as what is done with it. What is sent to a port that is closed goes nowhere.
 */
export function letGo(memory: ArrayBuffer): void {
  nowhere.postMessage(undefined, [memory]);
}
