/** The docker images that the server was told of, as the rest of Memoir sees them. */
export type Images = {
  /**
   * Locator of the newest registered image that a hash, repository or repository:tag names now; `tag` is empty for any.
   * @throws MemoirError INVALID_ARGUMENT UNKNOWN_IMAGE for the field `<field>.docker_image` naming the value if none matches
   */
  resolve(dockerImage: string, tag: string, field: string): Promise<string>;
};
