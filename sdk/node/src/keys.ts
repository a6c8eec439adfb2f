/** `client.keys`: the account's keys. A key's secret is shown once, by create() and rotate(). */
import type { APIPromise, OpenAI } from 'openai';
import { Page, type PagePromise } from 'openai/core/pagination';
import { APIResource } from 'openai/core/resource';
import { asAdmin, managementURL } from './management.js';

export type KeyScope = 'chat' | 'models' | 'limits' | 'estimate';

/** A key without its secret. Times are unix seconds, money is USD as a decimal string, null means "none". */
export interface Key {
  object: 'key';
  id: string;
  /** What it may do: ask models, manage the account, or run the cloud. */
  kind: 'inference' | 'admin' | 'operator';
  name: string | null;
  /** The secret's visible part, to recognise it by. */
  hint: string;
  state: 'active' | 'disabled' | 'expired' | 'revoked';
  /** The models that it may use; null: all. */
  models: string[] | null;
  /** Requests a minute, tokens a minute, requests at a time. */
  rpm: number | null;
  tpm: number | null;
  concurrent: number | null;
  daily_cap: string | null;
  monthly_cap: string | null;
  /** What it may be used for; null: everything. */
  scopes: KeyScope[] | null;
  /** Addresses and networks that it may come from; null: any. */
  ips: string[] | null;
  /** The id of the project that it belongs to. */
  project: string | null;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  disabled_at: number | null;
}

export interface CreatedKey extends Key {
  /** The secret. It is shown this once. */
  key: string;
}

export interface RotatedKey extends CreatedKey {
  /** The id of the key that this one takes the place of. */
  replaces: string;
}

export interface KeyCreateParams {
  name?: string;
  /** 'inference' unless said. */
  kind?: 'inference' | 'admin';
  /** The models that it may use; all unless said. */
  models?: string[];
  /** How long it is good: "30d", "12h", "45s". */
  expires?: string;
  rpm?: number;
  tpm?: number;
  concurrent?: number;
  /** The most that it may spend a day and a month, in USD as a decimal string. */
  daily_cap?: string;
  monthly_cap?: string;
  /** What it may be used for; everything unless said. */
  scopes?: KeyScope[];
  /** Addresses and networks (CIDR) that it may come from; any unless said. */
  ips?: string[];
  /** The id of the project that it is to belong to. */
  project?: string;
}

/** What is to be otherwise; what is left out stays as it is, null takes a limit away. */
export interface KeyUpdateParams {
  name?: string;
  models?: string[] | null;
  /** How long it is good from now on. */
  expires?: string | null;
  rpm?: number | null;
  tpm?: number | null;
  concurrent?: number | null;
  daily_cap?: string | null;
  monthly_cap?: string | null;
  scopes?: KeyScope[] | null;
  ips?: string[] | null;
  project?: string | null;
}

export interface KeyRotateParams {
  /** Seconds that the old key stays good beside the new one, at most 2592000 (30 days). */
  overlap?: number;
}

export class Keys extends APIResource {
  list(options?: OpenAI.RequestOptions): PagePromise<Page<Key>, Key> {
    return this._client.getAPIList(managementURL(this._client, 'keys'), Page<Key>, asAdmin(this._client, options));
  }

  retrieve(id: string, options?: OpenAI.RequestOptions): APIPromise<Key> {
    return this._client.get(managementURL(this._client, 'keys', id), asAdmin(this._client, options));
  }

  create(body: KeyCreateParams = {}, options?: OpenAI.RequestOptions): APIPromise<CreatedKey> {
    return this._client.post(managementURL(this._client, 'keys'), asAdmin(this._client, { body, ...options }));
  }

  /** Change a key's name and settings: in force from the next second on. */
  update(id: string, body: KeyUpdateParams, options?: OpenAI.RequestOptions): APIPromise<Key> {
    return this._client.patch(managementURL(this._client, 'keys', id), asAdmin(this._client, { body, ...options }));
  }

  /** Refuse a key, from the next second on, until it is enabled. */
  disable(id: string, options?: OpenAI.RequestOptions): APIPromise<Key> {
    return this._client.post(managementURL(this._client, 'keys', id, 'disable'), asAdmin(this._client, options));
  }

  /** Let a disabled key in again. */
  enable(id: string, options?: OpenAI.RequestOptions): APIPromise<Key> {
    return this._client.post(managementURL(this._client, 'keys', id, 'enable'), asAdmin(this._client, options));
  }

  /** Revoke a key: it is refused from the next second on. */
  revoke(id: string, options?: OpenAI.RequestOptions): APIPromise<Key> {
    return this._client.post(managementURL(this._client, 'keys', id, 'revoke'), asAdmin(this._client, options));
  }

  /** Make a key that takes another's place, with the same rights; the old one stays good for the overlap. */
  rotate(id: string, body: KeyRotateParams = {}, options?: OpenAI.RequestOptions): APIPromise<RotatedKey> {
    const url = managementURL(this._client, 'keys', id, 'rotate');
    return this._client.post(url, asAdmin(this._client, { body, ...options }));
  }
}
