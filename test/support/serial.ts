import ava from 'ava';

/**
 * Tests that run one after the other, in the order of their file, also where one process runs several files: each has the machine, and
 * what it waits for, to itself. See ava.config.js.
 */
export const test = ava.serial;
