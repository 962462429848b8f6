import { Command } from 'commander';
import { type Image, ImageSchema } from '../../../gen/memoir/images/v1/image_pb.js';
import {
  ForgetImageResponseSchema,
  type ListedImage,
  ListedImageSchema,
  RegisterImageResponseSchema,
} from '../../../gen/memoir/images/v1/images_service_pb.js';
import { withClients } from '../client.js';
import { integer, type RemoteOptions, remote, withJson } from '../options.js';
import { fittedTable, wideHelp } from '../text/fitted-table.js';
import { printLine, printMessage } from '../text/output.js';
import { type ListOptions, printList } from '../text/print-list.js';
import { printable } from '../text/printable.js';
import { sheet } from '../text/table.js';
import { age, instant } from '../text/time-text.js';

type ImageOptions = RemoteOptions & { readonly json?: boolean };

type ImagesOptions = ImageOptions & ListOptions & { readonly repository?: string; readonly forgotten?: boolean };

/** `memoir images`. */
export function imagesCommand(): Command {
  const command = new Command('images')
    .description('print registered docker images, the newest first')
    .option('--repository <name>', 'only those of a repository')
    .option('--forgotten', 'forgotten ones too')
    .option('--limit <number>', 'most images to print', integer(1, 1_000_000_000), 100)
    .option('--all', 'print all images')
    .option('--wide', wideHelp);
  return remote(withJson(command)).action((options: ImagesOptions) =>
    withClients(options, (clients) =>
      printList(options, {
        schema: ListedImageSchema,
        async page(asked) {
          const { repository = '', forgotten: includeForgotten = false } = options;
          const page = await clients.images.listImages({ repository, includeForgotten, ...asked }, clients.unary);
          return { rows: page.images, nextPageToken: page.nextPageToken };
        },
        table: (rows, width) => imageTable(rows, Date.now(), width),
        none: 'no images',
      }),
    ),
  );
}

/** `memoir image` and its verbs. */
export function imageCommand(): Command {
  const image = new Command('image').description('register, forget or resolve a docker image');
  for (const command of [registerCommand(), forgetCommand(), resolveImageCommand()]) {
    command.exitOverride();
    image.addCommand(command);
  }
  return image;
}

function registerCommand(): Command {
  type Options = ImageOptions & { readonly tag?: string; readonly locator?: string };
  const command = new Command('register')
    .description('tell the server of an image; the same again changes nothing')
    .argument('<repository>', 'name of its repository, such as arvados/jobs')
    .argument('<hash>', 'its id or digest: 64 hexadecimal digits, after sha256: or alone')
    .option('--tag <tag>', 'its tag')
    .option('--locator <locator>', 'what jobs keep of it (default: <repository>@<hash>)');
  return remote(withJson(command)).action((repository: string, hash: string, options: Options) =>
    withClients(options, async (clients) => {
      const { tag = '', locator = '' } = options;
      const answer = await clients.images.registerImage({ repository, hash, tag, locator }, clients.unary);
      if (options.json) await printMessage(RegisterImageResponseSchema, answer);
      else if (answer.image) await printLine(imageSheet(answer.image));
    }),
  );
}

function forgetCommand(): Command {
  const command = new Command('forget')
    .description('stop names from resolving to an image; jobs that ran in it keep its locator')
    .argument('<locator>', 'locator of the image')
    .option('--reason <text>', 'why, for people');
  return remote(withJson(command)).action((locator: string, options: ImageOptions & { readonly reason?: string }) =>
    withClients(options, async (clients) => {
      const answer = await clients.images.forgetImage({ locator, reason: options.reason ?? '' }, clients.unary);
      if (options.json) await printMessage(ForgetImageResponseSchema, answer);
      else await printLine(`forgot ${printable(locator)}`);
    }),
  );
}

function resolveImageCommand(): Command {
  const command = new Command('resolve')
    .description("print the image that a job's docker_image would be now")
    .argument('<image>', 'a hash, repository or repository:tag')
    .option('--tag <tag>', 'tag, where the image is named by its repository alone');
  return remote(withJson(command)).action((dockerImage: string, options: ImageOptions & { readonly tag?: string }) =>
    withClients(options, async (clients) => {
      const request = { dockerImage, dockerImageTag: options.tag ?? '' };
      const { image } = await clients.images.resolveImage(request, clients.unary);
      if (!image) throw new Error('the server answered without an image');
      if (options.json) await printMessage(ImageSchema, image);
      else await printLine(imageSheet(image));
    }),
  );
}

function imageSheet(image: Image): string {
  return sheet([
    ['locator', printable(image.locator)],
    ['hash', printable(image.hash)],
    ['repository', printable(image.repository)],
    ['tag', printable(image.tag)],
    ['registered', image.registeredAt ? instant(image.registeredAt) : 'not yet: only its registry has it'],
  ]);
}

function imageTable(rows: readonly ListedImage[], nowMs: number, width: number): string {
  return fittedTable(
    [
      { title: 'REPOSITORY', least: 12, rank: 2 },
      { title: 'TAG', least: 8 },
      { title: 'REGISTERED' },
      { title: 'FORGOTTEN', rank: 1 },
      { title: 'LOCATOR', least: 20 },
    ],
    rows.map(({ image, forgottenAt }) => [
      printable(image?.repository ?? ''),
      printable(image?.tag ?? ''),
      age(image?.registeredAt, nowMs),
      forgottenAt ? age(forgottenAt, nowMs) : '',
      printable(image?.locator ?? ''),
    ]),
    width,
  );
}
