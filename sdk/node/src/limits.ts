/** `client.limits()`: what is left of the limits, and who was refused lately. */

/** Requests or tokens in any 60 s. `used` counts what running requests reserve; after `reset_seconds` it is 0. */
export interface MinuteLimit {
  limit: number;
  used: number;
  remaining: number;
  reset_seconds: number;
}

/** Requests at a time, and how many run now. */
export interface ConcurrentLimit {
  limit: number;
  used: number;
}

/** What the account or the key may spend in a UTC day or month: USD as decimal strings. Null: not known yet. */
export interface SpendingCap {
  scope: 'account' | 'key';
  period: 'day' | 'month';
  limit: string;
  spent: string | null;
  remaining: string | null;
}

/** A request that a limit refused. */
export interface RefusedRequest {
  /** Unix seconds. */
  at: number;
  axis: 'requests' | 'tokens' | 'concurrency' | 'credit' | 'monthly_cap' | 'daily_cap' | 'flood';
  scope: 'account' | 'key';
  /** Prefix and last four characters of the key that it came with. */
  key_hint: string;
  /** Null where it was refused unread. */
  model: string | null;
  /** Whole seconds; null where waiting does not help. */
  retry_after: number | null;
}

export interface Limits {
  object: 'limits';
  plan: string;
  /** What counts over all keys of the account. */
  account: { requests: MinuteLimit; tokens: MinuteLimit; concurrent: ConcurrentLimit };
  /** The key's own limits, null each where it has none; null where it has none at all. */
  key: { requests: MinuteLimit | null; tokens: MinuteLimit | null; concurrent: ConcurrentLimit | null } | null;
  /** USD that are left, as a decimal string; null where it is not prepaid. */
  credit: string | null;
  caps: SpendingCap[];
  /** At most 20 requests of the last hour, newest first. */
  refused: RefusedRequest[];
}
