import type { ImageSearch } from '../../domain/image-name.js';

/** Images that are registered, at some moment. */
export type RegisteredImages = {
  /** The newest image that a search means and that is not forgotten. */
  newest(search: ImageSearch): { readonly locator: string } | undefined;
  /** Locators of all images that a search means, forgotten ones included. */
  locators(search: ImageSearch): ReadonlySet<string>;
};

/** The docker images that the server was told of, as the rest of Memoir sees them. */
export type Images = {
  /**
   * Locator of the newest registered image that a hash, repository, repository:tag, either of these with @hash, or locator names
   * now; forgotten ones do not count. A repository alone means its tag "latest", or any if there is none, and so does an empty `tag`. Where a registry is configured for the repository it is asked first,
   * and what it says is registered.
   * @throws MemoirError INVALID_ARGUMENT UNKNOWN_IMAGE for the field `<field>.docker_image` naming the value if none matches;
   * CONFLICTING_TAGS or BAD_TAG for `<field>.docker_image_tag`; FAILED_PRECONDITION IMAGE_FORGOTTEN if the registry names an image
   * that was forgotten here; UNAVAILABLE REGISTRY_UNAVAILABLE if it cannot be asked, and is needed or no registered image matches
   */
  resolve(dockerImage: string, tag: string, field: string): Promise<string>;
  /**
   * The image for jobs that name none, and the name that the server is configured with; undefined if there is no such name.
   * @throws MemoirError FAILED_PRECONDITION UNKNOWN_DEFAULT_IMAGE if no image matches the name, or as `resolve`
   */
  default(): Promise<{ readonly name: string; readonly locator: string }> | undefined;
  /**
   * Locators of all images that were ever registered and match a search such as `resolve` takes, whatever their tag, or whose hash begins
   * with these 12 or more digits; old and forgotten ones included.
   * Empty if the search means nothing.
   */
  locators(search: string): Promise<ReadonlySet<string>>;
  /** The same images for one who must leave no trace: what a registry says is used but not registered. */
  readonly unrecorded: Images;
  /** The same where other images are registered, as in the past. No registry is asked. */
  among(registered: RegisteredImages): Images;
};
