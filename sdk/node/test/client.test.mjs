// Who a client is: where its address and keys come from, what it refuses and exports, how its calls are repeated.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { afterEach, beforeEach, test } from 'node:test';
import TechStoneAI, * as ours from '@techstoneai/sdk';
import * as ourZod from '@techstoneai/sdk/helpers/zod';
import OpenAI, * as theirs from 'openai';
import * as theirZod from 'openai/helpers/zod';
import { ASK, completion, failure, reply, serve } from './server.mjs';

const require = createRequire(import.meta.url);
const outside = { ...process.env };
const FOREIGN = ['API_KEY', 'ADMIN_KEY', 'BASE_URL', 'ORG_ID', 'PROJECT_ID'].map((name) => `OPENAI_${name}`);

beforeEach(() => {
  for (const name of Object.keys(process.env)) {
    if (/^(OPENAI|TECHSTONE)_|^API_BASE_URL$/.test(name) && name !== 'OPENAI_MAJOR') delete process.env[name];
  }
  for (const name of FOREIGN) process.env[name] = 'sk-openai';
  process.env.OPENAI_CUSTOM_HEADERS = 'X-Secret: sk-openai';
});
afterEach(() => {
  for (const name of FOREIGN) delete process.env[name];
  Object.assign(process.env, outside);
});

const ADDRESS = 'https://api.example.com/v1';
const make = (options) => new TechStoneAI({ baseURL: ADDRESS, apiKey: 'ts_live_1', ...options });

test("keys and address are given, or come from TechStone's variables", () => {
  assert.throws(() => new TechStoneAI({ baseURL: ADDRESS }), /`apiKey` option.*TECHSTONE_API_KEY.*for example/);
  process.env.TECHSTONE_API_KEY = ' ts_live_env\n';
  process.env.TECHSTONE_ADMIN_KEY = 'ts_admin_env';
  assert.throws(() => new TechStoneAI(), /`baseURL` option.*TECHSTONE_BASE_URL.*API_BASE_URL.*for example/);
  process.env.API_BASE_URL = 'https://second.example.com';
  assert.equal(new TechStoneAI().baseURL, 'https://second.example.com/v1');
  process.env.TECHSTONE_BASE_URL = 'https://first.example.com/';
  for (const nothing of [undefined, null]) {
    const client = new TechStoneAI({ apiKey: nothing, baseURL: nothing, adminKey: nothing });
    const { apiKey, baseURL, adminKey } = client;
    assert.deepEqual([apiKey, baseURL, adminKey], ['ts_live_env', 'https://first.example.com/v1', 'ts_admin_env']);
  }
  assert.equal(make({ adminKey: 'ts_admin_1' }).adminKey, 'ts_admin_1');
  assert.equal(make().apiKey, 'ts_live_1');
});

test('a base URL is one in any form', () => {
  for (const form of ['https://a.example/v1', 'https://a.example/v1/', 'https://a.example', ' https://a.example// ']) {
    assert.equal(make({ baseURL: form }).baseURL, 'https://a.example/v1');
  }
  assert.equal(make({ baseURL: 'http://a.example:8000/gateway' }).baseURL, 'http://a.example:8000/gateway/v1');
  const unusable = ['a.example', 'ts_live_secret', '<your-api-base-url>', 'https:///v1', 'https://a.example/?key=1'];
  for (const wrong of unusable) {
    const refusal = (error) => error instanceof ours.OpenAIError && !error.message.includes(wrong);
    assert.throws(() => make({ baseURL: wrong }), refusal);
  }
});

test('nothing that is meant for OpenAI is used or sent', async (t) => {
  const { url, received } = await serve(t, (_, response) => reply(response, 200, completion('Hello.')));
  assert.throws(() => new TechStoneAI({ baseURL: url }), /API key is missing/);
  const client = make({ baseURL: url, defaultHeaders: { 'x-mine': '1' } });
  await client.chat.completions.create(ASK);
  await client.withOptions({ timeout: 1000 }).chat.completions.create(ASK);
  for (const { headers } of received) {
    assert.equal(headers['x-mine'], '1');
    assert.ok(!JSON.stringify(headers).includes('sk-openai'));
  }
  assert.equal(client.adminKey, null);
});

test('a client with an admin key only says so when it is asked for more', async () => {
  const client = new TechStoneAI({ baseURL: ADDRESS, adminKey: 'ts_admin_1' });
  await assert.rejects(client.chat.completions.create(ASK), /API key is missing/);
});

test('withOptions keeps the class and every setting', () => {
  const client = make({ adminKey: 'ts_admin_1', maxRetries: 5, defaultHeaders: { 'x-mine': '1' } });
  const other = client.withOptions({ timeout: 1000 });
  assert.equal(other.constructor, TechStoneAI);
  const { baseURL, apiKey, adminKey, maxRetries, timeout } = other;
  assert.deepEqual([baseURL, apiKey, adminKey, maxRetries, timeout], [ADDRESS, 'ts_live_1', 'ts_admin_1', 5, 1000]);
  assert.equal(client.withOptions({ adminKey: 'ts_admin_2' }).adminKey, 'ts_admin_2');
  assert.equal(client.withOptions({ baseURL: 'https://b.example' }).baseURL, 'https://b.example/v1');
  class Mine extends TechStoneAI {}
  assert.ok(new Mine({ baseURL, apiKey }).withOptions({}) instanceof Mine);
});

test('browsers are refused unless it is allowed', (t) => {
  Object.assign(globalThis, { window: { document: {} } });
  t.after(() => delete globalThis.window);
  Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  t.after(() => delete globalThis.navigator);
  assert.throws(() => make(), /dangerouslyAllowBrowser/);
  assert.ok(make({ dangerouslyAllowBrowser: true }));
});

test('each call that is no GET has a key of its own, kept when it is tried again', async (t) => {
  const { url, received } = await serve(t, (_, response) =>
    received.length === 1 ? reply(response, 503, failure('busy'), { 'retry-after-ms': '1' }) : reply(response, 200, {}),
  );
  const client = make({ baseURL: url });
  const same = { method: 'post', path: '/chat/completions', body: ASK };
  await client.chat.completions.create(ASK);
  await client.chat.completions.create(ASK);
  await client.request(same);
  await client.request(same);
  await client.get('/models');
  const [first, again, ...others] = received.map(({ headers }) => headers['idempotency-key']);
  assert.match(first, /^[\x21-\x7e]{16,255}$/);
  assert.equal(first, again);
  assert.equal(new Set([first, ...others.slice(0, 3)]).size, 4);
  assert.equal(others[3], undefined);
});

test("a caller's own Idempotency-Key wins", async (t) => {
  const { url, received } = await serve(t, (_, response) => reply(response, 200, completion('Hello.')));
  const create = (...options) => make({ baseURL: url }).chat.completions.create(ASK, ...options);
  await create({ headers: { 'idempotency-key': 'mine' } });
  await create({ idempotencyKey: 'mine' });
  await make({ baseURL: url, defaultHeaders: { 'Idempotency-Key': 'mine' } }).chat.completions.create(ASK);
  assert.deepEqual(received.map(({ headers }) => headers['idempotency-key']), ['mine', 'mine', 'mine']);
  await create({ headers: { 'Idempotency-Key': null } });
  assert.equal(received[3].headers['idempotency-key'], undefined);
});

test('Retry-After is waited for, with the same key', async (t) => {
  const times = [];
  const { url, received } = await serve(t, (_, response) => {
    times.push(performance.now());
    if (times.length === 1) reply(response, 429, failure('slow down', 'rate_limit_exceeded'), { 'retry-after': '1' });
    else reply(response, 200, completion('Hello.'));
  });
  const answer = await make({ baseURL: url }).chat.completions.create(ASK);
  assert.equal(answer.choices[0].message.content, 'Hello.');
  const waited = times[1] - times[0];
  assert.ok(waited >= 990, `it waited ${waited} ms only`);
  assert.equal(received[0].headers['idempotency-key'], received[1].headers['idempotency-key']);
});

test('it says who it is', async (t) => {
  const { url, received } = await serve(t, (_, response) => reply(response, 200, completion('Hello.')));
  await make({ baseURL: url }).chat.completions.create(ASK);
  const { version } = require('@techstoneai/sdk/package.json');
  assert.equal(ours.VERSION, version);
  assert.equal(received[0].headers['user-agent'], `TechStoneAI/JS ${version}`);
  // tests/sdk_node says which openai it put here.
  const { OPENAI_MAJOR = '' } = process.env;
  assert.ok(received[0].headers['x-stainless-package-version'].startsWith(OPENAI_MAJOR));
});

test('what openai exports is exported, save its other clients', () => {
  const clients = ['OpenAI', 'AzureOpenAI', 'BedrockOpenAI', 'ComputerToolset', 'default'];
  for (const name of Object.keys(theirs).filter((name) => !clients.includes(name) && name !== 'module.exports')) {
    assert.equal(ours[name], theirs[name], name);
  }
  assert.deepEqual({ ...ourZod }, { ...theirZod });
  assert.equal(ours.TechStoneAI, TechStoneAI);
  assert.ok(make() instanceof OpenAI);
});

test("statics are as OpenAI's", () => {
  for (const name of Object.getOwnPropertyNames(OpenAI)) {
    if (!['prototype', 'name', 'length'].includes(name)) assert.equal(TechStoneAI[name], OpenAI[name], name);
  }
  assert.equal(TechStoneAI.TechStoneAI, TechStoneAI);
});

test('require gives the client, with every export on it', () => {
  const required = require('@techstoneai/sdk');
  for (const name of Object.keys(ours).filter((name) => name !== 'module.exports')) assert.ok(name in required, name);
  assert.equal(required.default, required);
  assert.equal(required.TechStoneAI, required);
  assert.equal(required.APIError, require('openai').APIError);
  assert.ok(new required({ baseURL: ADDRESS, apiKey: 'ts_live_1' }) instanceof required);
  assert.equal(typeof require('@techstoneai/sdk/helpers/zod').zodResponseFormat, 'function');
});
