import { inflateRawSync } from 'node:zlib';
import { deflated } from './wasm.js';

/** Hashes one thing after the other. */
export type CheckedSha1 = {
  /** Hashes a text of Latin-1 and then bytes, together with what was added before, and begins anew. */
  digest(text: string, data?: Uint8Array): Checked;
  /** Takes a text of Latin-1, or bytes, to be hashed before what comes. */
  add(data: string | Uint8Array): void;
};

/** A SHA-1, and whether what was hashed has blocks that were made to collide with others. */
export type Checked = { readonly hash: Buffer; readonly collides: boolean };

/** What the types of Node.js 20 lack of WebAssembly. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => { readonly isModule: true };
  readonly Instance: new (module: { readonly isModule: true }) => { readonly exports: unknown };
};

/** See src/lib.rs. */
type Exports = {
  readonly memory: { readonly buffer: ArrayBuffer };
  input(): number;
  room(): number;
  output(): number;
  add(length: number): void;
  finish(length: number): number;
};

let compiled: { readonly isModule: true } | undefined;

/**
 * SHA-1 with detection of collision attacks, as git has it ("Counter-cryptanalysis", Stevens 2013): the hash is SHA-1's in any case. One that was
 * left in the midst of something is good for nothing more.
 */
export function createCheckedSha1(): CheckedSha1 {
  compiled ??= new WebAssembly.Module(inflateRawSync(Buffer.from(deflated, 'base64')));
  const wasm = new WebAssembly.Instance(compiled).exports as Exports;
  // It takes no more memory later on, so the view stays good.
  const memory = Buffer.from(wasm.memory.buffer);
  const [input, room, output] = [wasm.input(), wasm.room(), wasm.output()];
  /** Bytes that wait in the input. */
  let waiting = 0;

  function addBytes(data: Uint8Array): void {
    for (let at = 0; at < data.length; ) {
      if (waiting === room) {
        wasm.add(waiting);
        waiting = 0;
      }
      const length = Math.min(room - waiting, data.length - at);
      memory.set(length === data.length ? data : data.subarray(at, at + length), input + waiting);
      waiting += length;
      at += length;
    }
  }

  function add(data: string | Uint8Array): void {
    if (typeof data !== 'string') addBytes(data);
    else if (data.length > room - waiting) addBytes(Buffer.from(data, 'latin1'));
    else waiting += memory.write(data, input + waiting, 'latin1');
  }

  return {
    add,
    digest(text, data) {
      add(text);
      if (data) addBytes(data);
      const collides = wasm.finish(waiting) !== 0;
      waiting = 0;
      return { hash: Buffer.from(memory.subarray(output, output + 20)), collides };
    },
  };
}
