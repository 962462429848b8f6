import gossipPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_pb.js';
import featuresPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/serverfeatures_pb.js';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import type { State } from './modes.js';
import type { Endpoint } from './node-calls.js';
import { structuredId } from './protocol.js';

/** A node as the others know it. */
export type Member = Endpoint & { readonly state: State; readonly alive: boolean };

/** What a node says of the cluster. */
export function clusterInfo(members: readonly Member[]) {
  const info = new gossipPb.ClusterInfo();
  members.forEach(({ host, port, state, alive }, i) => {
    const member = new gossipPb.MemberInfo();
    const id = new sharedPb.UUID();
    id.setStructured(structuredId(`00000000-0000-4000-8000-00000000000${i}`));
    const at = new gossipPb.EndPoint();
    at.setAddress(host);
    at.setPort(port);
    member.setInstanceId(id);
    member.setHttpEndPoint(at);
    member.setIsAlive(alive);
    // In units of 100 ns since 1970-01-01T00:00Z.
    member.setTimeStamp(String(BigInt(Date.now()) * 10_000n));
    member.setState(state);
    info.addMembers(member);
  });
  return info;
}

const features: Readonly<Record<string, readonly string[]>> = {
  read: ['position', 'events'],
  append: [],
  batchappend: ['deadline_duration'],
  delete: [],
  tombstone: [],
};

/** What a node says that it can do. */
export function supportedMethods() {
  const methods = new featuresPb.SupportedMethods();
  methods.setEventStoreServerVersion('24.10.0-prerelease');
  for (const [name, those] of Object.entries(features)) {
    const method = new featuresPb.SupportedMethod();
    method.setServiceName('event_store.client.streams.streams');
    method.setMethodName(name);
    method.setFeaturesList([...those]);
    methods.addMethods(method);
  }
  return methods;
}
