import { create } from '@bufbuild/protobuf';
import { type Offer, OfferSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { OfferedSecretSchema } from '../../../gen/memoir/jobs/v1/secret_pb.js';
import type { Secret } from '../secrets/grants.js';

/** An offer as an attempt records it: of secrets those that it is given, without whom else they are granted to. */
export function recordedOffer(offer: Offer, given: readonly Secret[]): Offer {
  if (offer.secrets.length === 0) return offer;
  const secrets = given.map(({ name, grant }) => create(OfferedSecretSchema, { name, grant }));
  return create(OfferSchema, { ...offer, secrets });
}

/** An offer as who does not administer all repositories is told it: without whom its secrets are granted to. */
export function toldOffer(offer: Offer): Offer {
  return recordedOffer(offer, offer.secrets);
}
