import { flood, headersOf, opening, resetting, tellParent } from './http2-flood.js';

// Opens calls on a server and resets each at once, as fast as the system takes the bytes, and connects again when it is cut off. Its arguments
// are the port and how many connections. Tells its parent how many calls it has reset, ten times a second.

const [port, connections] = process.argv.slice(2).map(Number) as [number, number];
let resets = 0;

const headers = headersOf('/memoir.jobs.v1.JobsService/GetQueueSize');
const frames = (stream: number) => {
  resets++;
  return [...opening(headers, stream), ...resetting(stream)];
};

for (let i = 0; i < connections; i++) flood(port, () => frames);
tellParent(port, () => resets, 20_000);
