// The limits and the cost that answers carry beside OpenAI's fields.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import TechStoneAI, { MeteredStream, readRateLimit } from '@techstoneai/sdk';
import { ASK, USAGE, chunks, completion, failure, reply, serve, stream } from './server.mjs';

const HEADERS = {
  'x-ratelimit-remaining': '59',
  'x-ratelimit-reset': '1',
  'x-ratelimit-limit-requests': '60',
  'x-ratelimit-remaining-requests': '59',
  'x-ratelimit-reset-requests': '1s',
  'x-ratelimit-limit-tokens': '150000',
  'x-ratelimit-remaining-tokens': '149989',
  'x-ratelimit-reset-tokens': '1m4.4ms',
};
const RATE_LIMIT = {
  remaining: 59,
  reset: 1,
  requests: { limit: 60, remaining: 59, reset: 1 },
  tokens: { limit: 150000, remaining: 149989, reset: 60.0044 },
};
const NONE = { limit: null, remaining: null, reset: null };
const COST = '0.0001625';

async function connect(t, answer) {
  const { url } = await serve(t, (_, response) => answer(response));
  return new TechStoneAI({ baseURL: url, apiKey: 'ts_live_1', maxRetries: 0 });
}

test('an answer knows its limits and cost, and its JSON does not', async (t) => {
  const body = completion('Hello.');
  const client = await connect(t, (response) => reply(response, 200, body, { ...HEADERS, 'x-techstone-cost': COST }));
  const { data: answer, response } = await client.chat.completions.create(ASK).withResponse();
  assert.deepEqual(answer.rate_limit, RATE_LIMIT);
  assert.equal(answer.cost, COST);
  assert.equal(response.headers.get('x-techstone-cost'), COST);
  assert.equal(JSON.stringify(answer), JSON.stringify(body));
  assert.deepEqual(Object.keys(answer), Object.keys(body));
  assert.equal(answer._request_id, 'req_1');
});

test('the cost of the usage is enough; what nobody said is null', async (t) => {
  const usage = { ...USAGE, cost: COST };
  const client = await connect(t, (response) => reply(response, 200, completion('Hello.', { usage })));
  const answer = await client.chat.completions.create(ASK);
  assert.deepEqual([answer.cost, answer.usage.cost], [COST, COST]);
  assert.deepEqual(answer.rate_limit, { remaining: null, reset: null, requests: NONE, tokens: NONE });
  const silent = await connect(t, (response) => reply(response, 200, completion('Hello.')));
  assert.equal((await silent.chat.completions.create(ASK)).cost, null);
});

test('what is no answer of ours passes as it is', async (t) => {
  const client = await connect(t, (response) => response.writeHead(200, { 'content-type': 'text/plain' }).end('hello'));
  assert.equal(await client.chat.completions.create(ASK), 'hello');
});

test('a parsed answer knows them too', async (t) => {
  const client = await connect(t, (response) =>
    reply(response, 200, completion('{"a":1}'), { ...HEADERS, 'x-techstone-cost': COST }),
  );
  const response_format = { type: 'json_schema', json_schema: { name: 'a', schema: { type: 'object' } } };
  const answer = await client.chat.completions.parse({ ...ASK, response_format });
  assert.deepEqual([answer.rate_limit, answer.cost], [RATE_LIMIT, COST]);
});

test('a stream knows its limits at once, and its cost after the end', async (t) => {
  const said = chunks(['Hel', 'lo.'], { ...USAGE, cost: COST });
  const client = await connect(t, (response) => stream(response, said, HEADERS));
  const { data: answer } = await client.chat.completions.create({ ...ASK, stream: true }).withResponse();
  assert.ok(answer instanceof MeteredStream);
  assert.deepEqual([answer.rate_limit, answer.cost], [RATE_LIMIT, null]);
  for await (const chunk of answer) assert.equal(answer.cost, chunk.usage?.cost ?? null);
  assert.equal(answer.cost, COST);
  assert.ok(!Object.keys(answer).some((key) => ['rate_limit', 'cost'].includes(key)));
});

test('a stream that is split knows its cost too; one without usage has none', async (t) => {
  const usages = [{ ...USAGE, cost: COST }, undefined];
  const client = await connect(t, (response) => stream(response, chunks(['Hello.'], usages.shift())));
  const answer = await client.chat.completions.create({ ...ASK, stream: true });
  for await (const _ of answer.tee()[1]);
  assert.equal(answer.cost, COST);
  const other = await client.chat.completions.create({ ...ASK, stream: true });
  for await (const _ of other);
  assert.equal(other.cost, null);
});

test('an error has the limits in its headers', async (t) => {
  const client = await connect(t, (response) => reply(response, 429, failure('slow down'), HEADERS));
  const error = await client.chat.completions.create(ASK).then(assert.fail, (error) => error);
  assert.deepEqual(readRateLimit(error.headers), RATE_LIMIT);
});

test("durations are Go's or plain seconds, and anything else is null", () => {
  const read = (text) => readRateLimit(new Headers({ 'x-ratelimit-reset-tokens': text })).tokens.reset;
  assert.deepEqual(['1m0s', '12ms', '8.640s', '1h2m3s', '0s', '60'].map(read), [60, 0.012, 8.64, 3723, 0, 60]);
  assert.deepEqual(['', 'soon', '1s later', '-1s', '1d'].map(read), Array(5).fill(null));
});
