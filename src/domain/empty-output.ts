/**
 * Content address of an output without any file: the SHA-256 of the manifest `{"files":[]}`. A job that is Complete with it left
 * nothing behind.
 */
export const emptyOutput = 'sha256:602e35a92eec4bc0a2ec6ae113f07bfc6933322fb69fe8dee416e5a67217e2a2';
