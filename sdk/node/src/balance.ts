/** `client.balance`: what the account has and what it spent. */
import type { APIPromise, OpenAI } from 'openai';
import { APIResource } from 'openai/core/resource';
import { asAdmin, managementURL } from './management.js';

/** Money is USD as a decimal string. */
export interface Balance {
  object: 'balance';
  /** The account's e-mail address. */
  account: string;
  plan: string;
  billing: 'prepaid' | 'postpaid';
  currency: 'USD';
  granted: string;
  spent: string;
  /** Set aside for requests that are being answered. */
  held: string;
  /** What can still be spent; null where the account pays afterwards. */
  available: string | null;
  spent_this_month: string;
  /** The most that may be spent in a month; null: no cap. */
  monthly_cap: string | null;
}

export class Balances extends APIResource {
  retrieve(options?: OpenAI.RequestOptions): APIPromise<Balance> {
    return this._client.get(managementURL(this._client, 'balance'), asAdmin(this._client, options));
  }
}
