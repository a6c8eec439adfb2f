// keys, usage, balance, estimate and limits, against a server that answers as the service's contract says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import TechStoneAI from '@techstoneai/sdk';
import { ASK, failure, reply, serve } from './server.mjs';

const KEY = {
  object: 'key', id: 'key_1', kind: 'inference', name: 'ci', hint: 'ts_live_...abcd', state: 'active',
  models: ['gpt-4o'], rpm: 60, tpm: null, concurrent: null, daily_cap: '1.00', monthly_cap: null,
  scopes: ['chat'], ips: ['192.0.2.0/24'], project: 'proj_1',
  created_at: 1, expires_at: null, revoked_at: null, disabled_at: null,
};
const PROJECT = {
  object: 'project', id: 'proj_1', name: 'web', archived: false, keys: 1, spent_this_month: '0.0003', created_at: 1,
  archived_at: null,
};
const SUM = {
  group: 'gpt-4o', requests: 2, prompt_tokens: 18, cached_tokens: 0, completion_tokens: 4, reasoning_tokens: 0,
  cost: '0.0003',
};
const BALANCE = {
  object: 'balance', account: 'ann@example.com', plan: 'pro', billing: 'prepaid', currency: 'USD',
  granted: '10', spent: '1', held: '0', available: '9', spent_this_month: '1', monthly_cap: null,
};
const ESTIMATE = {
  object: 'estimate', model: 'gpt-4o', prompt_tokens: 8, max_completion_tokens: null, reserved_tokens: 16,
  cost: { prompt: '0.00002', maximum: '0.0001' },
  limits: {
    requests_per_minute: 60, remaining_requests: 60, tokens_per_minute: 150000, remaining_tokens: 150000,
    concurrent: 5, credit: '9',
  },
  route: [{ provider: 'up', model: 'gpt-4o' }], admissible: true, refusal: null,
};
const LIMITS = {
  object: 'limits', plan: 'pro',
  account: {
    requests: { limit: 60, used: 1, remaining: 59, reset_seconds: 59.9 },
    tokens: { limit: 150000, used: 11, remaining: 149989, reset_seconds: 59.9 },
    concurrent: { limit: 5, used: 0 },
  },
  key: null, credit: '9', caps: [{ scope: 'key', period: 'day', limit: '1.00', spent: null, remaining: null }],
  refused: [{ at: 1.5, axis: 'flood', scope: 'account', key_hint: 'ts_live_...abcd', model: null, retry_after: 1 }],
};
const REQUESTS = [0, 1, 2, 3, 4].map((at) => ({ request_id: `req_${at}`, cost: '0.00015', at }));

/** The service as the contract describes it. */
function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, 'http://service');
  const route = `${request.method} ${pathname.replace(/^\/gateway/, '')}`;
  if (route === 'POST /v1/estimate') return reply(response, 200, ESTIMATE);
  if (route === 'GET /v1/limits') return reply(response, 200, LIMITS);
  if (request.headers.authorization !== 'Bearer ts_admin_1') {
    return reply(response, 403, failure('an admin key is needed', 'admin_key_required'));
  }
  switch (route) {
    case 'GET /api/v1/balance':
      return reply(response, 200, BALANCE);
    case 'GET /api/v1/usage':
      return reply(response, 200, { object: 'list', data: [SUM, { ...SUM, group: 'gpt-4o-mini' }] });
    case 'GET /api/v1/requests': {
      const begin = REQUESTS.findIndex(({ request_id }) => request_id === searchParams.get('after')) + 1;
      const end = begin + Number(searchParams.get('limit') ?? 100);
      const data = REQUESTS.slice(begin, end);
      return reply(response, 200, { object: 'list', data, has_more: end < REQUESTS.length });
    }
    case 'GET /api/v1/keys':
      return reply(response, 200, { object: 'list', data: [KEY, { ...KEY, id: 'key_2' }] });
    case 'GET /api/v1/keys/key_1':
      return reply(response, 200, KEY);
    case 'POST /api/v1/keys':
      return reply(response, 201, { ...KEY, ...request.json, key: 'ts_live_secret' });
    case 'PATCH /api/v1/keys/key_1':
      return reply(response, 200, { ...KEY, ...request.json });
    case 'POST /api/v1/keys/key_1/disable':
      return reply(response, 200, { ...KEY, state: 'disabled', disabled_at: 2 });
    case 'POST /api/v1/keys/key_1/enable':
      return reply(response, 200, KEY);
    case 'GET /api/v1/projects':
      return reply(response, 200, { object: 'list', data: [PROJECT] });
    case 'GET /api/v1/projects/proj_1':
      return reply(response, 200, PROJECT);
    case 'POST /api/v1/projects':
      return reply(response, 201, { ...PROJECT, ...request.json });
    case 'PATCH /api/v1/projects/proj_1':
      return reply(response, 200, { ...PROJECT, ...request.json });
    case 'POST /api/v1/keys/key_1/revoke':
      return reply(response, 200, { ...KEY, state: 'revoked', revoked_at: 2 });
    case 'POST /api/v1/keys/key_1/rotate':
      return reply(response, 201, { ...KEY, id: 'key_3', key: 'ts_live_other', replaces: 'key_1' });
    default:
      return reply(response, 404, failure(`no ${route}`));
  }
}

async function connect(t, { path = '', ...options } = {}) {
  const { url, received } = await serve(t, answer);
  const client = new TechStoneAI({ baseURL: url + path, apiKey: 'ts_live_1', adminKey: 'ts_admin_1', ...options });
  return { client, received };
}
const last = (received) => received.at(-1);

async function collect(iterable) {
  const all = [];
  for await (const item of iterable) all.push(item);
  return all;
}

test('balance, wherever the base URL points', async (t) => {
  for (const path of ['', '/', '/v1', '/v1/', '/gateway/v1', '/gateway']) {
    const { client, received } = await connect(t, { path });
    const { _request_id, ...balance } = await client.balance.retrieve();
    assert.deepEqual(balance, BALANCE);
    const prefix = path.startsWith('/gateway') ? '/gateway' : '';
    assert.equal(last(received).url, `${prefix}/api/v1/balance`);
    assert.equal(last(received).headers.authorization, 'Bearer ts_admin_1');
  }
});

test('keys are listed, read, made, revoked and rotated', async (t) => {
  const { client, received } = await connect(t);
  assert.deepEqual((await client.keys.list()).data.map(({ id }) => id), ['key_1', 'key_2']);
  assert.deepEqual((await collect(client.keys.list())).map(({ id }) => id), ['key_1', 'key_2']);
  assert.equal((await client.keys.retrieve('key_1')).hint, 'ts_live_...abcd');
  const made = await client.keys.create({ name: 'ci', models: ['gpt-4o'], expires: '30d', daily_cap: '1.00' });
  assert.equal(made.key, 'ts_live_secret');
  assert.deepEqual(last(received).json, { name: 'ci', models: ['gpt-4o'], expires: '30d', daily_cap: '1.00' });
  assert.ok(last(received).headers['idempotency-key']);
  assert.equal((await client.keys.create()).key, 'ts_live_secret');
  assert.deepEqual(last(received).json, {});
  assert.equal((await client.keys.revoke('key_1')).state, 'revoked');
  const rotated = await client.keys.rotate('key_1', { overlap: 3600 });
  assert.deepEqual([rotated.key, rotated.replaces], ['ts_live_other', 'key_1']);
  assert.deepEqual(last(received).json, { overlap: 3600 });
});

test('a key is changed, disabled and enabled', async (t) => {
  const { client, received } = await connect(t);
  const changed = await client.keys.update('key_1', { rpm: null, scopes: ['models'], project: 'proj_2' });
  assert.deepEqual([changed.rpm, changed.scopes, changed.project], [null, ['models'], 'proj_2']);
  assert.equal(last(received).method, 'PATCH');
  assert.deepEqual(last(received).json, { rpm: null, scopes: ['models'], project: 'proj_2' });
  assert.equal((await client.keys.disable('key_1')).state, 'disabled');
  assert.equal((await client.keys.enable('key_1')).state, 'active');
});

test('projects are listed, read, made and changed', async (t) => {
  const { client, received } = await connect(t);
  assert.deepEqual((await collect(client.projects.list())).map(({ id }) => id), ['proj_1']);
  assert.equal((await client.projects.retrieve('proj_1')).spent_this_month, '0.0003');
  assert.equal((await client.projects.create({ name: 'batch' })).name, 'batch');
  assert.equal((await client.projects.update('proj_1', { archived: true })).archived, true);
  assert.deepEqual(last(received).json, { archived: true });
  await client.usage.list({ by: 'project', project: 'proj_1' });
  assert.equal(last(received).url, '/api/v1/usage?by=project&project=proj_1');
});

test('an id cannot lead to another route', async (t) => {
  const { client, received } = await connect(t);
  for (const id of ['', '.', '..']) assert.throws(() => client.keys.revoke(id), /is no id/);
  assert.equal(received.length, 0);
  await assert.rejects(client.keys.retrieve('../balance'), TechStoneAI.NotFoundError);
  assert.equal(last(received).url, '/api/v1/keys/..%2Fbalance');
});

test('usage is summed', async (t) => {
  const { client, received } = await connect(t);
  const page = await client.usage.list({ since: new Date(1_700_000_000_500), by: 'model' });
  assert.deepEqual(page.data[0], SUM);
  assert.equal(last(received).url, '/api/v1/usage?since=1700000000&by=model');
  await client.usage.list();
  assert.equal(last(received).url, '/api/v1/usage');
});

test('requests are iterated over all pages', async (t) => {
  const { client, received } = await connect(t);
  const all = await collect(client.usage.requests({ since: 1_700_000_000, limit: 2 }));
  assert.deepEqual(all, REQUESTS);
  assert.equal(received.length, 3);
  const { searchParams, pathname } = new URL(last(received).url, 'http://service');
  assert.equal(pathname, '/api/v1/requests');
  assert.deepEqual(Object.fromEntries(searchParams), { since: '1700000000', limit: '2', after: 'req_3' });
  const page = await client.usage.requests({ limit: 4 });
  assert.deepEqual([page.data.length, page.has_more, page.hasNextPage()], [4, true, true]);
  assert.deepEqual((await page.getNextPage()).data, REQUESTS.slice(4));
});

test('an estimate is asked with the ordinary key', async (t) => {
  const { client, received } = await connect(t);
  const { _request_id, ...estimate } = await client.estimate({ ...ASK, max_tokens: 8 });
  assert.deepEqual(estimate, ESTIMATE);
  assert.equal(last(received).url, '/v1/estimate');
  assert.equal(last(received).headers.authorization, 'Bearer ts_live_1');
  assert.deepEqual(last(received).json, { ...ASK, max_tokens: 8 });
});

test('limits are asked with the ordinary key', async (t) => {
  const { client, received } = await connect(t);
  const { _request_id, ...limits } = await client.limits();
  assert.deepEqual(limits, LIMITS);
  assert.equal(last(received).headers.authorization, 'Bearer ts_live_1');
  assert.equal(last(received).headers['idempotency-key'], undefined);
  await client.limits({ headers: { 'x-mine': '1' } });
  assert.equal(last(received).headers['x-mine'], '1');
});

test('without an admin key nothing is sent', async (t) => {
  delete process.env.TECHSTONE_ADMIN_KEY;
  const { client, received } = await connect(t, { adminKey: null });
  const refusal = { message: /needs an admin key.*`adminKey` option.*TECHSTONE_ADMIN_KEY.*for example/ };
  await assert.rejects(client.balance.retrieve(), refusal);
  await assert.rejects(client.keys.create({}), refusal);
  await assert.rejects(client.keys.list(), refusal);
  await assert.rejects(collect(client.usage.requests()), refusal);
  assert.equal(received.length, 0);
  assert.equal((await client.withOptions({ adminKey: 'ts_admin_1' }).balance.retrieve()).plan, 'pro');
});

test('a key that may not manage is refused by the service', async (t) => {
  const { client } = await connect(t, { adminKey: 'ts_live_1' });
  const error = await client.keys.list().then(assert.fail, (error) => error);
  assert.deepEqual([error.constructor, error.code], [TechStoneAI.PermissionDeniedError, 'admin_key_required']);
});

test('the key for models is not fetched for management', async (t) => {
  const { client } = await connect(t, { apiKey: () => assert.fail('fetched') });
  assert.equal((await client.balance.retrieve()).plan, 'pro');
});
