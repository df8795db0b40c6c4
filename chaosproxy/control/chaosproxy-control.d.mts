/** A rule as in a profile: one fault with its options, and what it acts on. */
export type Rule = string | { id?: string; when?: Record<string, unknown>; [fault: string]: unknown };

/** An expectation as in a profile. */
export type Expectation = string | { phase?: string; client?: string; after?: 'fault' | 'detected' | 'heal'; [name: string]: unknown };

export interface SessionOrder {
  /** The name of a shipped profile, or a whole one; without any, every byte passes. */
  profile?: string | { version: 1; [key: string]: unknown };
  /** A whole profile as YAML, in place of `profile`. */
  profile_yaml?: string;
  /** What chance depends on; the profile's own by default. */
  seed?: number;
  /** The host on which it listens: 127.0.0.1 by default. */
  listen?: string;
  /** The server, such as ws://127.0.0.1:6001; that of `chaosproxy run` by default. */
  upstream?: string;
  starts?: 'connection' | 'launch';
  /** What is expected beside what the profile expects. */
  expect?: Expectation[];
}

export type Condition =
  | 'opened'
  | 'closed'
  | 'established'
  | 'subscribed'
  | 'verdict'
  | `phase:${string}`
  | `struck:${string}`
  | `state:${string}`
  | `mark:${string}`;

export interface Patience {
  /** How many there must be: 1 by default. */
  count?: number;
  /** Milliseconds, or text such as '30s': 10 s by default, 4 minutes at most. */
  timeout?: number | string;
}

export interface Phase {
  name: string;
  visit: number;
  running: boolean;
  over: boolean;
  paused: boolean;
  seconds: number | null;
  ends_in_seconds: number | null;
  until: { condition: string; wanted: unknown; there: unknown } | null;
  failures: string[];
}

export interface Phases {
  phases: {
    name: string;
    about: string;
    lasts_seconds: number | null;
    until: Record<string, unknown> | null;
    rules: number;
    current: boolean;
  }[];
  current: string | null;
  paused: boolean;
  over: boolean;
  repeat: number | 'forever';
  rules_of_all: number;
}

export interface Run {
  profile: { name: string; digest: string };
  seed: number;
  phase: Phase;
  note?: string;
}

export interface Connection {
  /** Its number in the order of accepts; what is done to connections takes it. */
  attempt: number;
  client: string;
  connection: number;
  path: string;
  state: 'head' | 'asked' | 'exchange' | 'dialling' | 'answer' | 'refused' | 'hung' | 'tunnel' | 'ending';
  age_seconds: number;
  silent: boolean;
  rules: string[];
}

/** Connections for which all of this holds. */
export interface Match {
  client?: string;
  /** * and ? stand for any characters and one. */
  path?: string;
  state?: Connection['state'];
  silent?: boolean;
  /** Such as '5s'. */
  older_than?: string;
}

/** A connection by its attempt's number, those that match, or all. */
export type Which = number | Match | 'all';

export interface Freezing {
  leg?: 'client' | 'server' | 'both';
  /** freeze by default: their peers' sending comes to a halt. */
  mode?: 'freeze' | 'blackhole';
  heal?: 'flush' | 'discard' | 'reset';
  lasts?: string;
}

export interface Frozen {
  attempts: number[];
  rule: string | null;
  heal(): Promise<{ healed: string[] }>;
}

export interface Fault {
  id: string;
  /** The open connections on which it is in force. */
  connections: number;
  note?: string;
  heal(): Promise<{ healed: string[] }>;
}

export interface Row {
  name: string;
  about: string;
  outcome: 'passed' | 'failed' | 'open' | 'holds';
  seen: string;
  /** Whether `expect` asked for it; some things are always judged. */
  expected: boolean;
  /** The journal's records that show it. */
  evidence: { seq: number; at: number; event: string; [field: string]: unknown }[];
}

export interface Verdict {
  profile: { name: string; digest: string };
  seed: number;
  passed: boolean;
  finished: boolean;
  rows: Row[];
  /** The same for runs that went the same way. */
  digest: { whole: string; clients: Record<string, string>; states: Record<string, string> };
}

export interface Problem {
  path: string;
  message: string;
  source?: string;
  line?: number;
  column?: number;
}

export declare class ChaosError extends Error {
  readonly status: number;
  readonly answer: { error?: string; [field: string]: unknown };
  readonly problems: Problem[];
}

/** What can be done to a proxy, and seen of it. */
export interface Proxy {
  step(phase?: string): Promise<Phase>;
  pause(): Promise<Phase>;
  resume(): Promise<Phase>;
  phases(): Promise<Phases>;
  reset(): Promise<Run>;
  play(
    profile: NonNullable<SessionOrder['profile']>,
    order?: Pick<SessionOrder, 'seed' | 'starts' | 'expect'>,
  ): Promise<Run>;
  fault(rule: Rule, options?: { lasts?: string; connections?: number[] }): Promise<Fault>;
  heal(): Promise<{ healed: string[] }>;
  heal(which: Which): Promise<{ attempts: number[]; rules: string[] }>;
  connections(match?: Match): Promise<Connection[]>;
  freeze(which: Which, options?: Freezing): Promise<Frozen>;
  closeConnections(which: Which, options?: { code?: number | 'none'; reason?: string }): Promise<{ attempts: number[] }>;
  resetConnections(which: Which): Promise<{ attempts: number[] }>;
  waitFor(what: Condition, patience?: Patience): Promise<{ for: string; there: number; wanted: number }>;
  mark(name: string, options?: { client?: string }): Promise<void>;
  verdict(): Promise<Verdict>;
  state(): Promise<Record<string, unknown>>;
}

export interface Session extends Proxy {
  readonly id: string;
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Where pages get chaosproxy.js, to tell their states to this session. */
  readonly scriptUrl: string;
  /** The `url` of watch() in chaosproxy.js. */
  readonly reportUrl: string;
  close(): Promise<Verdict>;
}

export interface Chaos {
  /** The proxy of `chaosproxy run` itself. */
  proxy: Proxy;
  session(order?: SessionOrder): Promise<Session>;
}

export declare function connect(address: string | undefined, options?: { token?: string }): Promise<Chaos>;
