// Not run, only checked by types.test.mjs: a project with ES modules that uses everything.
import TechStoneAI, {
  APIError,
  MeteredStream,
  RateLimitError,
  readRateLimit,
  TechStoneAI as Named,
  toFile,
  type Allowance,
  type Balance,
  type ClientOptions,
  type CreatedKey,
  type Estimate,
  type Key,
  type KeyScope,
  type Limits,
  type MeteredChatCompletion,
  type MinuteLimit,
  type Project,
  type RateLimit,
  type RefusedRequest,
  type UsageRequest,
  type UsageSum,
} from '@techstoneai/sdk';
import { zodResponseFormat } from '@techstoneai/sdk/helpers/zod';
import OpenAI from 'openai';
import { z } from 'zod';

/** Only the very same type passes: `any` and every near miss are refused. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(..._: Same<A, B> extends true ? [] : ['these types differ']): void {}

const options: ClientOptions = { apiKey: async () => 'ts_live_1', baseURL: null, adminKey: undefined, maxRetries: 1 };
const client = new TechStoneAI(options);
const openai: OpenAI = client;
const changed: TechStoneAI = client.withOptions({ adminKey: 'ts_admin_1', timeout: 1 });
new Named({ apiKey: undefined, baseURL: undefined });
// @ts-expect-error -- a misspelt option
new TechStoneAI({ apikey: 'ts_live_1' });
// @ts-expect-error -- another vendor's way in
new TechStoneAI({ workloadIdentity: undefined });

const messages: TechStoneAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'hi' }];
const tool: TechStoneAI.Chat.ChatCompletionTool = { type: 'function', function: { name: 'weather' } };
const model = 'gpt-4o';

const answer = await client.chat.completions.create({ model, messages, tools: [tool] });
same<typeof answer.cost, string | null>();
same<typeof answer.rate_limit, RateLimit>();
same<typeof answer.rate_limit.remaining, number | null>();
same<typeof answer.rate_limit.tokens, Allowance>();
const text: string | null | undefined = answer.choices[0]?.message.content;
const request: string | null | undefined = answer._request_id;
const plain: OpenAI.ChatCompletion = answer;
const metered: MeteredChatCompletion = answer;
const finish: TechStoneAI.ChatCompletion.Choice['finish_reason'] | undefined = answer.choices[0]?.finish_reason;
const price: string | undefined = answer.usage?.cost;
// @ts-expect-error -- money is no number
const number: number = answer.cost;
// @ts-expect-error -- it is read only
answer.cost = '1';
// @ts-expect-error -- what OpenAI's clients give has none
(await new OpenAI().chat.completions.create({ model, messages })).cost;
// @ts-expect-error -- messages are missing
await client.chat.completions.create({ model });

const stream = await client.chat.completions.create({ model, messages, stream: true });
same<typeof stream.cost, string | null>();
same<typeof stream.rate_limit, RateLimit>();
const isOurs: MeteredStream = stream;
for await (const chunk of stream) {
  const part: string | null | undefined = chunk.choices[0]?.delta.content;
  const cost: string | undefined = chunk.usage?.cost;
  void [part, cost];
}
// @ts-expect-error -- a stream has no choices
stream.choices;

const body: TechStoneAI.ChatCompletionCreateParams = { model, messages };
const either = await client.chat.completions.create(body);
same<typeof either.cost, string | null>();

const { data, response, request_id } = await client.chat.completions.create({ model, messages }).withResponse();
same<typeof data.rate_limit, RateLimit>();
const raw: Response = await client.chat.completions.create({ model, messages }).asResponse();

const response_format = zodResponseFormat(z.object({ city: z.string() }), 'place');
const parsed = await client.chat.completions.parse({ model, messages, response_format });
same<NonNullable<(typeof parsed.choices)[0]['message']['parsed']>, { city: string }>();
same<typeof parsed.cost, string | null>();
const said: string | null = await client.chat.completions.stream({ model, messages }).finalContent();

const estimate: Estimate = await client.estimate({ model, messages, max_tokens: 8 });
same<typeof estimate.cost.maximum, string>();
// @ts-expect-error -- it takes what a chat request takes
await client.estimate({ model });

const limits: Limits = await client.limits({ timeout: 1000 });
same<typeof limits.account.tokens.reset_seconds, number>();
same<NonNullable<typeof limits.key>['requests'], MinuteLimit | null>();
same<typeof limits.credit, string | null>();
same<(typeof limits.refused)[number], RefusedRequest>();
// @ts-expect-error -- it may have no limits of its own
limits.key.requests;

const balance: Balance = await client.balance.retrieve();
same<typeof balance.available, string | null>();

for await (const sum of client.usage.list({ since: new Date(), by: 'day' })) same<typeof sum, UsageSum>();
for await (const one of client.usage.requests({ since: 1, limit: 10 })) same<typeof one, UsageRequest>();
const sums: UsageSum[] = (await client.usage.list()).data;
// @ts-expect-error -- not by that
await client.usage.list({ by: 'week' });

const keys: Key[] = (await client.keys.list()).data;
const made: CreatedKey = await client.keys.create({ name: 'ci', kind: 'admin', models: ['gpt-4o'], expires: '30d' });
same<typeof made.key, string>();
const rotated: string = (await client.keys.rotate(made.id, { overlap: 60 })).replaces;
const state: 'active' | 'disabled' | 'expired' | 'revoked' = (await client.keys.revoke(made.id)).state;
const changed_key: Key = await client.keys.update(made.id, { rpm: null, scopes: ['chat'], ips: null, expires: '1h' });
same<typeof changed_key.scopes, KeyScope[] | null>();
const enabled: Key[] = [await client.keys.disable(made.id), await client.keys.enable(made.id)];
// @ts-expect-error -- there is no such scope
await client.keys.create({ scopes: ['everything'] });
const project: Project = await client.projects.create({ name: 'web' });
same<typeof project.spent_this_month, string>();
for await (const one of client.projects.list()) same<typeof one, Project>();
await client.projects.update(project.id, { archived: true });
await client.usage.list({ by: 'project', project: project.id });
// @ts-expect-error -- a secret is shown when it is made, and never again
(await client.keys.retrieve(made.id)).key;
// @ts-expect-error -- money is no number
await client.keys.create({ daily_cap: 1 });

try {
  await client.models.list();
} catch (error) {
  if (error instanceof TechStoneAI.RateLimitError && error instanceof RateLimitError && error instanceof APIError) {
    same<ReturnType<typeof readRateLimit>, RateLimit>();
    if (error.headers) readRateLimit(error.headers);
  }
}

void [openai, changed, text, request, plain, metered, finish, price, number, isOurs, response, request_id, raw, said];
void [sums, keys, rotated, state, enabled, toFile];
