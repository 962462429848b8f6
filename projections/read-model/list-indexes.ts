import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';

/**
 * SQL that makes the indexes that lists use beside those of the table's own reads. Most end with the time of creation, so that
 * the first page of the jobs with a value is read without sorting all of them, however many there are.
 */
export const listIndexes = `
    CREATE INDEX IF NOT EXISTS job_repository ON job (repository, created_at);
    CREATE INDEX IF NOT EXISTS job_script ON job (repository, script, created_at);
    CREATE INDEX IF NOT EXISTS job_owner ON job (owner, created_at);
    CREATE INDEX IF NOT EXISTS job_claimed_by ON job (claimed_by, created_at) WHERE claimed_by <> '';
    CREATE INDEX IF NOT EXISTS job_script_version ON job (script_version, created_at);
    CREATE INDEX IF NOT EXISTS job_unusual_state ON job (state, created_at) WHERE state <> ${JobState.COMPLETE};
    CREATE INDEX IF NOT EXISTS job_docker_image ON job (docker_image_locator, created_at) WHERE docker_image_locator <> '';
    CREATE INDEX IF NOT EXISTS job_sdk ON job (arvados_sdk_version, created_at) WHERE arvados_sdk_version <> '';
    CREATE INDEX IF NOT EXISTS job_output ON job (substr(output, 1, 19)) WHERE output <> '';
    CREATE INDEX IF NOT EXISTS job_deleted ON job (position) WHERE deleted = 1;`;
