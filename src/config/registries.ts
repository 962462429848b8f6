import * as z from 'zod';
import { isImageRepository } from '../domain/image-name.js';

/** What every repository begins with. */
export const everyRepository = '*';

/** The repositories that a registry is asked for: one, all under a path or domain, or "*" for all. */
export const registryPrefix = z
  .string()
  .refine(
    (text) => text === everyRepository || isImageRepository(text) || isImageRepository(`${text}/x`),
    'give the beginning of the names of repositories, such as "team" or "registry.example:5000", or "*" for all',
  );

/** How a registry is asked. */
export const registryConfig = z
  .strictObject({
    /** Its address, such as "https://registry.example:5000". */
    url: z
      .string()
      .refine(isOrigin, 'give it as https://host or https://host:port (or http://…), without path, user or password'),
    /** Further hosts, with their port unless it is the usual one, that it may send to: for tokens, or by redirects. */
    hosts: z.array(z.string().regex(/^[a-z0-9.-]+(:[0-9]{1,5})?$/, 'give hosts in lower case')).default([]),
    /** User and password, for registries that ask for them. */
    username: z.string().min(1).optional(),
    password: z.string().min(1).optional(),
    /** Whether jobs are refused while it cannot be asked; otherwise the newest registered image is taken. */
    needed: z.boolean().default(false),
    /** How long one question may take in all, in seconds. */
    timeout: z.number().min(0.01).max(60).default(5),
    /** How old an answer may be that is used again, in seconds. With 0, a job gets what its tag names when it is requested. */
    max_age: z.number().min(0).max(86_400).default(0),
  })
  .refine(
    ({ username, password }) => (username === undefined) === (password === undefined),
    'give both username and password, or neither',
  );

/** How a registry is asked, with the defaults filled in. */
export type RegistryConfig = z.output<typeof registryConfig>;

function isOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, pathname, search, hash } = new URL(text);
  return /^https?:$/.test(protocol) && username + password + search + hash === '' && pathname === '/';
}
