/** Kinds of objects that git keeps. */
export type ObjectType = 'commit' | 'tree' | 'blob' | 'tag';

/** An object's kind and content. */
export type GitObject = { readonly type: ObjectType; readonly data: Buffer };

/** Most bytes of an object that is read where commits, trees and tags are meant; no honest one comes near it. */
export const largestObject = 32 * 1024 * 1024;

/** Longest chain of annotated tags that is followed. */
export const longestTagChain = 1_000;

/** What caused an error, if an object has more bytes than are read; the size that it says itself, so that damage may be behind it. */
export class ObjectTooLarge extends Error {
  constructor(readonly bytes: number) {
    super(`an object has ${bytes} bytes`);
  }
}

/** Whether a word is a kind of object. */
export function isObjectType(word: string): word is ObjectType {
  return word === 'commit' || word === 'tree' || word === 'blob' || word === 'tag';
}
