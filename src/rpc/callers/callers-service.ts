import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type CallersService, WhoAmIResponseSchema } from '../../../gen/memoir/callers/v1/callers_service_pb.js';
import type { Access } from '../../domain/access.js';
import { checkLength, textLimits } from '../../jobs/limits.js';
import type { Implementation } from '../service.js';

/** memoir.callers.v1.CallersService. */
export function callersService(): Implementation<typeof CallersService> {
  return {
    async whoAmI({ repository }, { caller }) {
      checkLength('repository', repository, textLimits.repository);
      const { principal, credential, access } = caller;
      return create(WhoAmIResponseSchema, {
        principal,
        ...(credential && {
          credentialKind: credential.kind,
          credentialId: credential.id,
          groups: [...credential.groups],
          expiresAt: timestampFromMs(credential.expiresAt),
          actor: credential.actor?.principal ?? '',
        }),
        readsAll: access.readsAll,
        administersAll: access.administersAll,
        delegates: access.delegates,
        may: repository === '' ? [] : mayIn(access, repository),
      });
    },
  };
}

function mayIn(access: Access, repository: string): string[] {
  const deeds = [
    ['read', access.knows(repository)],
    ['submit', access.submits(repository)],
    ['work', access.works(repository)],
    ['administer', access.administers(repository)],
  ] as const;
  return deeds.filter(([, may]) => may).map(([deed]) => deed);
}
