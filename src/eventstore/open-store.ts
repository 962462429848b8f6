import { join, resolve } from 'node:path';
import { quote } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import { type Formats, type GuardedStore, guardLog, guardStore } from './format-guard.js';
import type { LogImporter } from './importer.js';
import { isKurrentUrl, type KurrentUrl, parseKurrentUrl, withoutCredentials } from './kurrentdb/url.js';
import type { EventLog, EventStore, LogRefused } from './port.js';
import { type Signing, signedStore, verifiedLog } from './signing/signed-log.js';
import type { Trust } from './signing/signing-state.js';
import { absenceOf } from './sqlite/claim-file.js';
import { openSqliteImporter } from './sqlite/importer.js';
import { type LossOptions, openSqliteExport, openSqliteLog, openSqliteStore } from './sqlite/store.js';
import type { StoreKind } from './transfer/format.js';

const sqliteScheme = 'sqlite:';

/** Told about every failure of a store that is tried again, in words, without credentials. */
export type OnTrouble = (message: string) => void;

type Place =
  | { readonly kind: 'sqlite' & StoreKind; readonly path: string }
  | { readonly kind: 'kurrentdb' & StoreKind; readonly url: KurrentUrl };

/** The adapters of KurrentDB, loaded only where a store is one: its client costs a process as much time to load as Memoir does. */
const kurrentStores = () => import('./kurrentdb/store.js');
const kurrentImporters = () => import('./kurrentdb/importer.js');

/** The URL of the embedded store in a file. */
export function sqliteUrl(path: string): string {
  return `${sqliteScheme}${resolve(path)}`;
}

/** The URL of the store of a server with these settings: the one that is named, or else the embedded one in its data directory. */
export function storeUrlOf({
  store,
  data_dir,
}: {
  readonly store?: string | undefined;
  readonly data_dir: string;
}): string {
  return store ?? sqliteUrl(join(data_dir, 'events.sqlite'));
}

/**
 * What the URL names, for messages: the path, or the nodes without credentials.
 * @throws Error as `openStore` does
 */
export function storeName(url: string): string {
  const place = placeOf(url);
  return place.kind === 'sqlite' ? place.path : place.url.address;
}

/** How a store is opened. */
export type OpenOptions = Omit<Formats, 'verified'> &
  Pick<LossOptions, 'onLoss' | 'check' | 'onNothing'> & {
    /** Signs what is appended and verifies what is read, where it is given. */
    readonly signing?: Signing | undefined;
  };

/**
 * Opens the event store that a URL names: `sqlite:` and a path, or a connection string of KurrentDB. Reads of it throw NewerLog at an
 * event of a format that is not known.
 * @throws Error naming the URL, without credentials, if it names no store; StoreUnavailable or StoreUnreadable as the store does
 */
export async function openStore(
  url: string,
  edge: Edge,
  onTrouble?: OnTrouble,
  { onLoss, check, onNothing, signing, ...given }: OpenOptions = {},
): Promise<GuardedStore> {
  const place = placeOf(url);
  const formats = { ...given, verified: signing !== undefined };
  const withSignatures = (store: EventStore) => (signing ? signedStore(store, signing) : store);
  if (place.kind === 'kurrentdb') {
    const { openKurrentStore } = await kurrentStores();
    const store = await openKurrentStore(place.url, { edge, ...(onTrouble && { onTrouble }) });
    return guardStore(withSignatures(store), formats);
  }
  let guarded: GuardedStore | undefined;
  const onReplaced = (error: LogRefused) => guarded?.refuse(error);
  const options = { ...(onLoss && { onLoss }), ...(check && { check }), ...(onNothing && { onNothing }), onReplaced };
  guarded = guardStore(withSignatures(await openSqliteStore(place.path, edge.now, options)), formats);
  return guarded;
}

/**
 * Why a store that URL names has no log, in words behind its name; undefined if it has one, or is one that others keep. A WAL that
 * its log is missing beside is no log.
 */
export function absenceOfLog(url: string): string | undefined {
  const place = placeOf(url);
  return place.kind === 'sqlite' ? absenceOf(place.path) : undefined;
}

/**
 * Opens the log of a store for reading only: the embedded one only in the process that has it open as a store. With `hasty` a store that is
 * away is not waited for at its first read. With `trust` signatures are verified.
 */
export async function openLog(
  url: string,
  edge: Edge,
  onTrouble?: OnTrouble,
  hasty = false,
  trust?: Trust,
): Promise<EventLog> {
  const log = await openAnyLog(url, edge, onTrouble, hasty);
  return trust ? guardLog(verifiedLog(log, trust), { verified: true }) : guardLog(log);
}

async function openAnyLog(
  url: string,
  edge: Edge,
  onTrouble: OnTrouble | undefined,
  hasty: boolean,
): Promise<EventLog> {
  const place = placeOf(url);
  if (place.kind === 'sqlite') return openSqliteLog(place.path);
  const { openKurrentLog } = await kurrentStores();
  return openKurrentLog(place.url, { edge, hasty, ...(onTrouble && { onTrouble }) });
}

/** The kind of store that a URL names. @throws Error as `openStore` does */
export function storeKind(url: string): StoreKind {
  return placeOf(url).kind;
}

/**
 * Opens the log of a store for reading only, in any process, while servers have it open or not. An export carries what it does not
 * understand, so that events of any format are given. Throws as `openStore` does.
 */
export async function openLogToExport(url: string, edge: Edge, onTrouble?: OnTrouble): Promise<EventLog> {
  const place = placeOf(url);
  return place.kind === 'sqlite' ? openSqliteExport(place.path) : openAnyLog(url, edge, onTrouble, true);
}

/** Opens a store, as `openStore` does, to take a log that was recorded elsewhere. */
export async function openImporter(url: string, edge: Edge, onTrouble?: OnTrouble): Promise<LogImporter> {
  const place = placeOf(url);
  if (place.kind === 'sqlite') return openSqliteImporter(place.path);
  const { openKurrentImporter } = await kurrentImporters();
  return openKurrentImporter(place.url, { edge, ...(onTrouble && { onTrouble }) });
}

function placeOf(url: string): Place {
  if (isKurrentUrl(url)) return { kind: 'kurrentdb', url: parseKurrentUrl(url) };
  if (url.startsWith(sqliteScheme) && url.length > sqliteScheme.length) {
    return { kind: 'sqlite', path: resolve(url.slice(sqliteScheme.length)) };
  }
  throw new Error(
    `store ${quote(withoutCredentials(url))} is not "sqlite:" and a path, nor a connection string of KurrentDB such as ` +
      '"kurrentdb://user:password@node1:2113,node2:2113"',
  );
}
