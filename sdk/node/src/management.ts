/** What `keys`, `projects`, `usage` and `balance` share: their place beside /v1, and the admin key that they are asked with. */
import { OpenAIError, type OpenAI } from 'openai';

/** Return the address of a management route: /api/v1 stands beside /v1. */
export function managementURL(client: OpenAI, ...path: string[]): string {
  const root = client.baseURL.replace(/\/+$/, '').replace(/\/v1$/, '');
  return [root, 'api', 'v1', ...path.map(encodePart)].join('/');
}

function encodePart(part: string): string {
  // A URL resolves "." and ".." away, and an empty part is another route: each would ask for something else.
  if (/^\.{0,2}$/.test(part)) throw new OpenAIError(`"${part}" is no id`);
  return encodeURIComponent(part);
}

/** Return the options of a management call; without an admin key it is refused here, before anything is sent. */
export async function asAdmin(client: OpenAI, options?: OpenAI.RequestOptions): Promise<OpenAI.RequestOptions> {
  if (!client.adminAPIKey) {
    throw new OpenAIError(
      'This call needs an admin key, and none is set. Pass the `adminKey` option or set TECHSTONE_ADMIN_KEY, ' +
        "for example: new TechStoneAI({ adminKey: 'ts_admin_...' })",
    );
  }
  return { ...options, __security: { adminAPIKeyAuth: true } };
}

/** A moment: unix seconds, or a Date. */
export type Moment = number | Date;

export function toSeconds(moment: Moment | undefined): number | undefined {
  return moment instanceof Date ? Math.floor(moment.getTime() / 1000) : moment;
}
