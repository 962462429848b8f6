import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { CandidateFacts, ReuseTerms } from '../../src/domain/reuse.js';

/** A complete job that nothing rules out. */
export const sound: CandidateFacts = {
  uuid: 'u',
  owner: 'bob',
  state: JobState.COMPLETE,
  scriptVersion: 'c1',
  dockerImageLocator: '',
  arvadosSdkVersion: '',
  nondeterministic: false,
  leaveLfsPointers: true,
  leaveSubmodules: true,
  deleted: false,
  output: 'o1',
  log: 'l1',
};

/** A request for its commit, by the first rules. */
export const firstTerms: ReuseTerms = {
  principal: 'alice',
  acceptsCommit: (commit) => commit === 'c1',
  acceptedCommits: 'c1',
  dockerImageLocator: '',
  arvadosSdkVersion: '',
  reuseIfOutputsDiffer: false,
};

/** Terms of a request that accepts every commit. */
export const anyCommit = { acceptsCommit: () => true, acceptedCommits: 'any' };
