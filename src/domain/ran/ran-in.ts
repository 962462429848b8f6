import type { RuntimeConstraints } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { Ran } from '../../../gen/memoir/jobs/v1/ran_pb.js';

/** What a job asks of the place where it runs that has no size. Empty asks for nothing. */
export type AskedPlace = {
  /** Platform of the image. */
  readonly platform: string;
  /** What keeps the run apart from the rest of the machine. */
  readonly sandbox: string;
};

/** What a complete job ran in, as its worker stated. Empty is what was not stated. */
export type RanIn = AskedPlace & {
  /** Locator of the image. */
  readonly image: string;
};

/** The sandbox that can be asked for. */
export const bubblewrap = 'bubblewrap';

/** What a job asks for; undefined if nothing. */
export function askedPlace(constraints: Pick<RuntimeConstraints, 'platform' | 'sandbox'> | undefined) {
  if (!constraints || (constraints.platform === '' && constraints.sandbox === '')) return undefined;
  const { platform, sandbox } = constraints;
  return { platform, sandbox } satisfies AskedPlace;
}

/** What a run stated; undefined if nothing of it. */
export function ranInOf(ran: Ran | undefined): RanIn | undefined {
  if (!ran) return undefined;
  const { sandbox } = ran;
  const { locator: image = '', platform = '' } = ran.image ?? {};
  return image === '' && sandbox === '' ? undefined : { image, platform, sandbox };
}

/** What is asked for as the text that a table keeps: JSON, empty for nothing. */
export function askedText(asked: AskedPlace | undefined): string {
  return asked ? JSON.stringify([asked.platform, asked.sandbox]) : '';
}

/** What such a text tells. */
export function askedOfText(text: string): AskedPlace | undefined {
  if (text === '') return undefined;
  const [platform, sandbox] = JSON.parse(text) as [string, string];
  return { platform, sandbox };
}

/** What a run stated, likewise. */
export function ranInText(ranIn: RanIn | undefined): string {
  return ranIn ? JSON.stringify([ranIn.image, ranIn.platform, ranIn.sandbox]) : '';
}

/** What such a text tells. */
export function ranInOfText(text: string): RanIn | undefined {
  if (text === '') return undefined;
  const [image, platform, sandbox] = JSON.parse(text) as [string, string, string];
  return { image, platform, sandbox };
}
