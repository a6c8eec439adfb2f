// spec/ holds for our client: streams, errors and headers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import TechStoneAI, * as ours from '@techstoneai/sdk';
import * as theirs from 'openai';
import { VERSION } from 'openai/version';
import { ASK, completion, serve } from './server.mjs';
import { cut, decode, read, replay } from './vectors.mjs';

const OPENAI = `node ${VERSION.split('.')[0]}`;
const JSON_TYPE = { 'content-type': 'application/json' };
const EVENTS = { 'content-type': 'text/event-stream' };
const FAILURES = read('errors');
const HEADERS = read('headers');

const json = (value) => [Buffer.from(JSON.stringify(value))];
const parse = (text) => JSON.parse(decode(text).toString());

/** A client of a server that replays what `answers` holds, one after the other. */
async function connect(t, options) {
  const answers = [];
  const { url, received } = await serve(t, (_, response) => replay(response, answers.shift()));
  const client = new TechStoneAI({ baseURL: url, apiKey: 'ts_live_1', maxRetries: 1, logLevel: 'off', ...options });
  return { client, answers, received };
}

const ask = (client, more) => client.chat.completions.create({ ...ASK, ...more });
const fail = (client) => ask(client).then(assert.fail, (error) => error);

/** Let a client retry at once, and return where it notes for how many seconds it would have waited. */
function noteWaits(client) {
  const waits = [];
  const retry = client.retryRequest;
  client.retryRequest = function (...given) {
    const { setTimeout } = globalThis;
    globalThis.setTimeout = (resolve, ms, ...more) => {
      // What Node's timers make of it: https://nodejs.org/api/timers.html#settimeoutcallback-delay-args
      waits.push((ms >= 1 && ms < 2 ** 31 ? ms : 1) / 1000);
      return setTimeout(resolve, 0, ...more);
    };
    try {
      return retry.apply(this, given); // it sets its timer before its first await
    } finally {
      globalThis.setTimeout = setTimeout;
    }
  };
  return waits;
}

/** Read a stream to its end: its chunks, and what it raises. */
async function take(client) {
  const seen = [];
  try {
    for await (const chunk of await ask(client, { stream: true })) seen.push(chunk);
  } catch (error) {
    return { seen, error };
  }
  return { seen };
}

test('streams give their chunks at every cut, and end as they must', async (t) => {
  const { client, answers } = await connect(t);
  // Node's fetch joins what one read brought, so that cuts made by a server would be lost on the way.
  const pieces = [];
  const fetch = async () => new Response(ReadableStream.from(pieces.splice(0)), { headers: EVENTS });
  const direct = client.withOptions({ fetch });
  for (const vector of read('sse').filter(({ readers }) => !readers || readers.includes('node'))) {
    const chunks = (vector.ends === 'cut' ? vector.events : vector.events.slice(0, -1)).map(parse);
    const check = (name, { seen, error }) => {
      const where = `${vector.name}: ${name}`;
      assert.deepEqual(seen, chunks, where);
      if (vector.ends === 'error') {
        assert.equal(error?.constructor, theirs.APIError, where);
        assert.deepEqual(error.error, parse(vector.events.at(-1)).error, where);
      } else if (vector.ends === 'malformed') assert.ok(error instanceof SyntaxError, where);
      else assert.equal(error?.message, vector.lost ? 'terminated' : undefined, where); // fetch's own TypeError
    };
    answers.push({ headers: EVENTS, pieces: [decode(vector.stream)], lost: vector.lost });
    check('over a connection', await take(client));
    for (const [name, given] of vector.lost ? [] : cut(vector)) {
      pieces.push(...given);
      check(name, await take(direct));
    }
  }
});

test('errors are raised as their classes, and what may pass is sent again', async (t) => {
  const { client, answers, received } = await connect(t);
  noteWaits(client);
  for (const { name, status, error: wanted, headers, raises, retried } of FAILURES.errors) {
    received.length = 0;
    const answer = { status, headers: { ...FAILURES.headers, ...headers }, pieces: json({ error: wanted }) };
    answers.splice(0, answers.length, answer, answer);
    const error = await fail(client);
    assert.equal(error.constructor, ours[raises.node], name);
    assert.equal(error.constructor, theirs[raises.node], name);
    const { type, code, param } = error;
    assert.deepEqual({ type, code, message: error.error.message, param }, wanted, name);
    assert.deepEqual([error.status, error.requestID], [status, FAILURES.headers['x-request-id']], name);
    assert.equal(received.length, retried ? 2 : 1, name);
  }
});

test('limits are read; whole answers, streams and errors tell the same', async (t) => {
  const { client, answers } = await connect(t, { maxRetries: 0 });
  for (const { name, headers, rate_limit: wanted, state } of HEADERS.rate_limit) {
    answers.push({ headers: { ...JSON_TYPE, ...headers }, pieces: json(completion('Hello.')) });
    const { rate_limit: found } = await ask(client);
    const { requests, tokens } = found;
    for (const [there, here = {}] of [[found, wanted], [requests, wanted.requests], [tokens, wanted.tokens]]) {
      if (there !== found) assert.equal(there.limit, here.limit ?? null, name);
      assert.equal(there.remaining, here.remaining ?? null, name);
      const reset = here.reset ?? null;
      assert.ok(there.reset === reset || Math.abs(there.reset - reset) < 1e-12, `${name}: ${there.reset}`);
      assert.equal(there.reset === null, reset === null, name);
    }
    if (!state) continue;
    answers.push({ headers: { ...EVENTS, ...headers }, pieces: [] });
    answers.push({ status: 400, headers: { ...JSON_TYPE, ...headers }, pieces: json({}) });
    assert.deepEqual((await ask(client, { stream: true })).rate_limit, found, name);
    assert.deepEqual(ours.readRateLimit((await fail(client)).headers), found, name);
  }
});

test('the cost is read, by the header or else by the usage', async (t) => {
  const { client, answers } = await connect(t);
  for (const { name, headers, usage_cost, cost } of HEADERS.cost) {
    const usage = usage_cost === undefined ? undefined : { prompt_tokens: 1, cost: usage_cost };
    const event = Buffer.from(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
    answers.push({ headers: { ...JSON_TYPE, ...headers }, pieces: json(completion('Hello.', { usage })) });
    assert.equal((await ask(client)).cost, cost, name);
    if (Object.keys(headers).length) continue;
    answers.push({ headers: EVENTS, pieces: [event] });
    const stream = await ask(client, { stream: true });
    for await (const _ of stream);
    assert.equal(stream.cost, cost, name);
  }
});

test('the request id is read, of answers and of errors', async (t) => {
  const { client, answers } = await connect(t);
  for (const { name, headers, request_id } of HEADERS.request_id) {
    answers.push({ headers: { ...JSON_TYPE, ...headers }, pieces: json(completion('Hello.')) });
    answers.push({ status: 400, headers: { ...JSON_TYPE, ...headers }, pieces: json({}) });
    assert.equal((await ask(client))._request_id, request_id, name);
    assert.equal((await fail(client)).requestID, request_id, name);
  }
});

test('waits are obeyed', async (t) => {
  const { client, answers, received } = await connect(t);
  const waits = noteWaits(client);
  for (const { name, status, headers, waits: wanted } of HEADERS.retry) {
    waits.length = received.length = 0;
    const refused = { status, headers: { ...JSON_TYPE, ...headers }, pieces: json({}) };
    answers.splice(0, answers.length, refused, { headers: JSON_TYPE, pieces: json(completion('Hello.')) });
    if (wanted[OPENAI] === null) {
      await fail(client);
      assert.deepEqual([received.length, waits], [1, []], name);
      continue;
    }
    await ask(client);
    const [least, most] = [wanted[OPENAI]].flat();
    assert.deepEqual([received.length, waits.length], [2, 1], name);
    assert.ok(least <= waits[0] && waits[0] <= (most ?? least), `${name}: ${waits[0]}`);
  }
});
