import test from 'ava';
import { type Clients, startTestServer, type TestServer, type TestServerOptions } from './server.js';

/**
 * A server for the tests of one file. It starts before the first of them and is disposed after the last, so that the file awaits
 * nothing while it is loaded and can run in one process with others. Clients may be asked for before it has started, not called.
 */
export function serverOfFile(options: TestServerOptions = {}): TestServer {
  let running: TestServer | undefined;
  function started(): TestServer {
    if (!running) throw new Error('the server of this file starts before its first test');
    return running;
  }
  test.serial.before(async () => {
    running = await startTestServer(options);
  });
  test.serial.after.always(() => running?.dispose());
  const clients = new Map<string, Clients>();
  function as(principal: string): Clients {
    const known = clients.get(principal) ?? whenUsed(() => started().as(principal));
    clients.set(principal, known);
    return known;
  }
  return whenUsed<TestServer>(started, { as });
}

/** Has `known`, and else whatever the object that `of` gives has when it is used. */
function whenUsed<T extends Clients | TestServer>(of: () => T, known: Partial<T> = {}): T {
  return new Proxy(known as T, {
    get: (_, name) => (name in known ? Reflect.get(known, name) : Reflect.get(of(), name)),
  });
}
