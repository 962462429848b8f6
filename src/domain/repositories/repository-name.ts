/** Names of repositories: parts of letters, digits, ".", "_" and "-" between slashes, none of which begins with a dot. */
export const repositoryNamePattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;

/** Most characters of one. */
export const longestRepositoryName = 255;
