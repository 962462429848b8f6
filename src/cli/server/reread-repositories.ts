import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { Sources } from '../../config/settings.js';
import type { ServerConfig } from '../../config.js';
import { type Watched, watchText } from '../../files/watched-files.js';
import type { RunningServer } from '../../main.js';

/** Settings that count while a server runs; others when it is started again. */
const taken: readonly (keyof ServerConfig)[] = ['repositories', 'credentials'];

/**
 * Reads the repositories of a server's settings again when the file of settings changes, and at once at SIGHUP. Settings that cannot be
 * used are told, and those before go on; so is what of them counts at the next start only.
 * @param config - the settings as they were read at the start
 */
export function rereadRepositories(
  { file, directory }: Pick<Sources, 'file' | 'directory'>,
  settings: () => Promise<ServerConfig>,
  config: ServerConfig,
  server: Pick<RunningServer, 'reconfigure'>,
  logger: Logger,
): Watched {
  const path = file === undefined ? undefined : resolve(directory, file);
  const watch =
    path === undefined
      ? undefined
      : watchText(path, readFileSync(path, 'utf8'), {
          async take() {
            const now = await settings();
            await server.reconfigure(now);
            const late = (Object.keys(now) as (keyof ServerConfig)[]).filter(
              (key) => !taken.includes(key) && !isDeepStrictEqual(now[key], config[key]),
            );
            if (late.length > 0) logger.warn({ path, settings: late }, 'changed settings count at the next start');
          },
          failed: (error) =>
            logger.error(
              { path, err: error },
              'the changed settings cannot be used; the repositories stay as they are',
            ),
        });
  const hangUp = () => {
    if (watch) watch.read();
    else logger.warn('SIGHUP: there is no file of settings (--config) to be read again');
  };
  process.on('SIGHUP', hangUp);
  return {
    read: hangUp,
    close() {
      process.off('SIGHUP', hangUp);
      watch?.close();
    },
  };
}
