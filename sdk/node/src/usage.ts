/** `client.usage`: sums, and the requests behind them. */
import type { OpenAI } from 'openai';
import { AbstractPage, Page, type PagePromise, type PageRequestOptions } from 'openai/core/pagination';
import { APIResource } from 'openai/core/resource';
import { asAdmin, managementURL, toSeconds, type Moment } from './management.js';

export interface UsageSum {
  /** What the sum is of: a model, the id of a key or a project ('none': of keys of none), or the first unix second of an hour or a day. */
  group: string;
  requests: number;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  reasoning_tokens: number;
  /** USD as a decimal string. */
  cost: string;
}

export interface UsageListParams {
  /** The beginning; 24 hours ago unless said. Sums are of whole hours, with `by: 'day'` of whole days. */
  since?: Moment;
  /** 'model' unless said. */
  by?: 'model' | 'key' | 'project' | 'hour' | 'day';
  /** Only what the keys of the project of this id used, or with 'none' those that belong to none. */
  project?: string;
}

export interface UsageRequest {
  request_id: string;
  /** The id of the key that asked. */
  key: string;
  model: string;
  /** Being answered, billed, or not billed. */
  state: 'open' | 'settled' | 'void';
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  reasoning_tokens: number;
  /** USD as a decimal string. */
  cost: string;
  /** Unix seconds, with a fraction. */
  at: number;
  provider: string | null;
  /** The HTTP status of the answer. */
  status: number | null;
  stream: boolean;
  duration_ms: number | null;
  first_byte_ms: number | null;
  error_code: string | null;
}

export interface UsageRequestsParams {
  /** The beginning; 24 hours ago unless said. */
  since?: Moment;
  /** Only what came after the request of this id. */
  after?: string;
  /** How many a page, 1 to 1000; 100 unless said. More pages are fetched by themselves. */
  limit?: number;
}

/** A page of requests, oldest first; iterating over it goes on through the pages that follow. */
export class UsageRequestsPage extends AbstractPage<UsageRequest> {
  data: UsageRequest[];
  has_more: boolean;

  constructor(...[client, response, body, options]: ConstructorParameters<typeof AbstractPage>) {
    super(client, response, body, options);
    const { data = [], has_more = false } = body as Partial<UsageRequestsPage>;
    this.data = data;
    this.has_more = has_more;
  }

  getPaginatedItems(): UsageRequest[] {
    return this.data;
  }

  nextPageRequestOptions(): PageRequestOptions | null {
    const last = this.data.at(-1);
    if (!this.has_more || !last) return null;
    return { ...this.options, query: { ...(this.options.query as object), after: last.request_id } };
  }
}

export class Usage extends APIResource {
  /** Sums of what was used and what it cost. */
  list(query: UsageListParams = {}, options?: OpenAI.RequestOptions): PagePromise<Page<UsageSum>, UsageSum> {
    return this._client.getAPIList(
      managementURL(this._client, 'usage'),
      Page<UsageSum>,
      asAdmin(this._client, { query: { ...query, since: toSeconds(query.since) }, ...options }),
    );
  }

  /**
   * Each request, oldest first:
   *
   *     for await (const request of client.usage.requests({ since })) ...
   */
  requests(
    query: UsageRequestsParams = {},
    options?: OpenAI.RequestOptions,
  ): PagePromise<UsageRequestsPage, UsageRequest> {
    return this._client.getAPIList(
      managementURL(this._client, 'requests'),
      UsageRequestsPage,
      asAdmin(this._client, { query: { ...query, since: toSeconds(query.since) }, ...options }),
    );
  }
}
