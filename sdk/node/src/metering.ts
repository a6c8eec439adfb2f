/**
 * What an answer says beside its body: the limits that are left, and its price. Never among OpenAI's fields: what
 * JSON.stringify, Object.keys and a spread see is OpenAI's answer.
 */
import type { OpenAI } from 'openai';
import { Stream } from 'openai/core/streaming';

/** One limit: how much there is in a minute, what is left, and in how many seconds it is full again. */
export interface Allowance {
  limit: number | null;
  remaining: number | null;
  reset: number | null;
}

/** The limits after an answer. What the answer did not say is null: a proxy may drop headers. */
export interface RateLimit {
  /** Requests that are left. */
  remaining: number | null;
  /** Seconds until all requests of the limit are there again. */
  reset: number | null;
  requests: Allowance;
  tokens: Allowance;
}

/** What each chat answer carries beside OpenAI's fields. */
export interface Metered {
  readonly rate_limit: RateLimit;
  /**
   * What the answer cost in USD, as a decimal string such as "0.0001625"; null where it is not known. In streams it is
   * known after the end, and only if `stream_options: { include_usage: true }` asked for usage.
   *
   * A string, because the service counts money exactly and a JavaScript number cannot: 0.1 + 0.2 gives
   * 0.30000000000000004. Add costs with a decimal library; Number(cost) is good enough to show, not to keep books.
   */
  readonly cost: string | null;
}

/** OpenAI's usage with the price beside the tokens. */
export interface MeteredUsage extends OpenAI.CompletionUsage {
  /** USD as a decimal string. */
  cost?: string;
}

export interface MeteredChatCompletion extends OpenAI.ChatCompletion, Metered {
  usage?: MeteredUsage;
}

export interface MeteredChatCompletionChunk extends OpenAI.ChatCompletionChunk {
  usage?: MeteredUsage | null;
}

/** OpenAI's stream, which also knows the limits at once and, after its end, the cost. */
export class MeteredStream extends Stream<MeteredChatCompletionChunk> implements Metered {
  readonly #seen: Seen;
  readonly #rateLimit: RateLimit;

  constructor(source: Stream<OpenAI.ChatCompletionChunk>, headers: Headers) {
    const seen: Seen = { cost: null };
    super(() => watch(source, seen), source.controller);
    this.#seen = seen;
    this.#rateLimit = readRateLimit(headers);
  }

  get rate_limit(): RateLimit {
    return this.#rateLimit;
  }

  get cost(): string | null {
    return this.#seen.cost;
  }
}

interface Seen {
  cost: string | null;
}

async function* watch(
  source: Stream<OpenAI.ChatCompletionChunk>,
  seen: Seen,
): AsyncGenerator<MeteredChatCompletionChunk> {
  for await (const chunk of source as AsyncIterable<MeteredChatCompletionChunk>) {
    seen.cost = readAmount(chunk.usage?.cost) ?? seen.cost;
    yield chunk;
  }
}

/** Put the limits and the cost on an answer, unseen by JSON. What is no object (a proxy's text) passes as it is. */
export function meter<Answer extends { usage?: OpenAI.CompletionUsage }>(
  answer: Answer,
  headers: Headers,
): Answer & Metered {
  if (typeof answer !== 'object' || answer === null) return answer;
  const usage: MeteredUsage | undefined = answer.usage;
  return Object.defineProperties(answer, {
    rate_limit: { value: readRateLimit(headers), configurable: true },
    cost: { value: readAmount(headers.get('x-techstone-cost')) ?? readAmount(usage?.cost), configurable: true },
  }) as Answer & Metered;
}

/** Read the limits from an answer's headers: of an error too, `readRateLimit(error.headers)`. */
export function readRateLimit(headers: Headers): RateLimit {
  const allowance = (what: string): Allowance => ({
    limit: readCount(headers.get(`x-ratelimit-limit-${what}`)),
    remaining: readCount(headers.get(`x-ratelimit-remaining-${what}`)),
    reset: readSeconds(headers.get(`x-ratelimit-reset-${what}`)),
  });
  return {
    remaining: readCount(headers.get('x-ratelimit-remaining')),
    reset: readSeconds(headers.get('x-ratelimit-reset')),
    requests: allowance('requests'),
    tokens: allowance('tokens'),
  };
}

/** Read an amount in the service's own form: digits, so that a decimal library takes it, or nothing. */
function readAmount(value: unknown): string | null {
  return typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value) ? value : null;
}

function readCount(text: string | null): number | null {
  if (text === null || !/^\d{1,16}$/.test(text)) return null;
  const count = Number(text);
  return Number.isSafeInteger(count) ? count : null;
}

// The µ (or μ) stands in a header in UTF-8, and fetch reads headers as Latin-1.
const SECONDS: Record<string, number> = {
  h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, ns: 1e-9, 'µs': 1e-6, 'Âµs': 1e-6, 'Î¼s': 1e-6,
};
const PART = /(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|µs|Âµs|Î¼s|us|ns)/g;
const DURATION = new RegExp(`^(?:${PART.source})+$`);

/** OpenAI writes Go's durations: 1m0s, 12ms, 8.640s (https://pkg.go.dev/time#ParseDuration); others write seconds. */
function readSeconds(text: string | null): number | null {
  if (text === null) return null;
  let seconds = NaN;
  if (/^\d+(\.\d+)?$/.test(text)) seconds = Number(text);
  else if (DURATION.test(text)) {
    seconds = 0;
    for (const [, number, unit] of text.matchAll(PART)) seconds += Number(number) * SECONDS[unit!]!;
  }
  return Number.isFinite(seconds) ? seconds : null;
}
