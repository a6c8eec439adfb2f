// One body of tests, two clients: what OpenAI's does, ours does the same.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import TechStoneAI, * as ours from '@techstoneai/sdk';
import OpenAI, * as theirs from 'openai';
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { Stream } from 'openai/core/streaming';
import { z } from 'zod';
import { ASK, MESSAGES, chunks, completion, failure, reply, serve, stream } from './server.mjs';

// A real service, which tests/sdk_node starts: any model says "Hello.", or calls the tool that it is given.
const { SERVICE_URL, SERVICE_KEY, SERVICE_LIMITED_KEY } = process.env;
const skip = SERVICE_URL ? false : 'tests/sdk_node starts the service';

const CLIENTS = [
  ['openai', OpenAI, theirs],
  ['@techstoneai/sdk', TechStoneAI, ours],
];
const WEATHER = { type: 'function', function: { name: 'weather', parameters: { type: 'object' } } };
const CALL = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Paris"}' } };

async function collect(iterable) {
  const all = [];
  for await (const item of iterable) all.push(item);
  return all;
}
const say = (all) => all.map((chunk) => chunk.choices[0]?.delta?.content || '').join('');

for (const [name, Client, exported] of CLIENTS) {
  describe(`${name} with the service`, { skip }, () => {
    const client = new Client({ baseURL: SERVICE_URL, apiKey: SERVICE_KEY, maxRetries: 0 });
    const create = (more, options) => client.chat.completions.create({ ...ASK, ...more }, options);

    test('a whole answer', async () => {
      const answer = await create();
      assert.equal(answer.choices[0].message.content, 'Hello.');
      assert.equal(answer.model, 'gpt-4o');
      assert.equal(answer.usage.total_tokens, 11);
      assert.match(answer._request_id, /^req_/);
    });

    test('an answer with its response, and the response alone', async () => {
      const { data, response, request_id } = await create().withResponse();
      assert.equal(data.choices[0].message.content, 'Hello.');
      assert.ok(response instanceof Response);
      assert.equal(request_id, response.headers.get('x-request-id'));
      const raw = await create().asResponse();
      assert.deepEqual(Object.keys(await raw.json()), Object.keys(JSON.parse(JSON.stringify(data))));
    });

    test('a stream, with usage where it was asked for', async () => {
      const all = await collect(await create({ stream: true, stream_options: { include_usage: true } }));
      assert.equal(say(all), 'Hello.');
      assert.equal(all.at(-1).usage.total_tokens, 11);
      assert.ok((await collect(await create({ stream: true }))).every((chunk) => !chunk.usage));
    });

    test('a stream that is given up disturbs nothing', async () => {
      const given = await create({ stream: true });
      for await (const _ of given) break;
      assert.ok(given.controller.signal.aborted);
      assert.equal((await create()).choices[0].message.content, 'Hello.');
    });

    test('a stream is a Stream: it splits, and becomes a ReadableStream and back', async () => {
      const given = await create({ stream: true });
      assert.ok(given instanceof Stream);
      const [left, right] = given.tee();
      assert.deepEqual((await Promise.all([collect(left), collect(right)])).map(say), ['Hello.', 'Hello.']);
      await assert.rejects(collect(given), /consumed stream/);
      const bytes = (await create({ stream: true })).toReadableStream();
      assert.equal(say(await collect(Stream.fromReadableStream(bytes, new AbortController()))), 'Hello.');
    });

    test('a raw stream', async () => {
      const { data, response } = await create({ stream: true }).withResponse();
      assert.match(response.headers.get('content-type'), /^text\/event-stream/);
      assert.equal(say(await collect(data)), 'Hello.');
      assert.match(await (await create({ stream: true }).asResponse()).text(), /data: \[DONE\]\n\n$/);
    });

    test('the stream helper', async () => {
      const helper = client.chat.completions.stream({ ...ASK, stream_options: { include_usage: true } });
      const heard = [];
      helper.on('content', (delta) => heard.push(delta));
      assert.equal(await helper.finalContent(), 'Hello.');
      assert.equal(heard.join(''), 'Hello.');
      assert.equal((await helper.totalUsage()).total_tokens, 11);
    });

    test('tools, whole, streamed and parsed', async () => {
      const answer = await create({ tools: [WEATHER] });
      assert.equal(answer.choices[0].message.tool_calls[0].function.name, 'weather');
      const all = await collect(await create({ tools: [WEATHER], stream: true }));
      assert.equal(all[0].choices[0].delta.tool_calls[0].function.name, 'weather');
      const tools = [zodFunction({ name: 'weather', parameters: z.object({ city: z.string() }) })];
      const parsed = await client.chat.completions.parse({ ...ASK, tools });
      assert.deepEqual(parsed.choices[0].message.tool_calls[0].function.parsed_arguments, { city: 'Paris' });
    });

    test('models', async () => {
      assert.ok((await collect(client.models.list())).some((model) => model.id === 'gpt-4o'));
      assert.equal((await client.models.retrieve('gpt-4o')).object, 'model');
    });

    test('options for some calls', async () => {
      const other = client.withOptions({ apiKey: 'ts_live_wrong' });
      assert.ok(other instanceof Client);
      assert.equal(other.baseURL, client.baseURL);
      await assert.rejects(other.chat.completions.create(ASK), exported.AuthenticationError);
      assert.equal((await create({}, { timeout: 5000 })).choices[0].message.content, 'Hello.');
    });

    test('timeouts and aborts', async () => {
      const late = create({ model: 'silent' }, { timeout: 200 });
      await assert.rejects(late, exported.APIConnectionTimeoutError);
      const left = create({ model: 'silent' }, { signal: AbortSignal.timeout(200) });
      await assert.rejects(left, exported.APIUserAbortError);
    });

    for (const [status, kind, code, more, key] of [
      [400, 'BadRequestError', 'decimal_above_max_value', { temperature: 3 }],
      [401, 'AuthenticationError', 'invalid_api_key', {}, 'ts_live_wrong'],
      [403, 'PermissionDeniedError', 'permission_denied', {}, SERVICE_LIMITED_KEY],
      [404, 'NotFoundError', 'model_not_found', { model: 'none' }],
      [500, 'InternalServerError', 'upstream_error', { model: 'fail-500' }],
      [503, 'InternalServerError', 'upstream_unavailable', { model: 'fail-503' }],
    ]) {
      test(`${status} is raised as ${kind}`, async () => {
        const asking = key ? client.withOptions({ apiKey: key }) : client;
        const error = await asking.chat.completions.create({ ...ASK, ...more }).then(assert.fail, (error) => error);
        assert.ok(error instanceof exported[kind] && error instanceof Client[kind] && error instanceof Client.APIError);
        assert.deepEqual([error.status, error.code, error.requestID.slice(0, 4)], [status, code, 'req_']);
      });
    }
  });

  describe(`${name} with a scripted server`, () => {
    const connect = (url, options) => new Client({ baseURL: `${url}/v1`, apiKey: 'sk-1', ...options });

    for (const [status, kind] of [
      [400, 'BadRequestError'],
      [401, 'AuthenticationError'],
      [403, 'PermissionDeniedError'],
      [404, 'NotFoundError'],
      [409, 'ConflictError'],
      [413, 'APIError'],
      [422, 'UnprocessableEntityError'],
      [429, 'RateLimitError'],
      [500, 'InternalServerError'],
    ]) {
      test(`status ${status} is ${kind}`, async (t) => {
        const { url, received } = await serve(t, (_, response) => reply(response, status, failure('no', 'why')));
        const error = await connect(url, { maxRetries: 0 }).chat.completions.create(ASK).then(assert.fail, (e) => e);
        assert.equal(error.constructor, exported[kind]);
        assert.equal(error.constructor, theirs[kind]);
        assert.deepEqual([error.status, error.code, error.requestID], [status, 'why', 'req_1']);
        assert.equal(received.length, 1);
      });
    }

    test('nobody listens', async () => {
      const lost = connect('http://127.0.0.1:1', { maxRetries: 0 }).chat.completions.create(ASK);
      await assert.rejects(lost, exported.APIConnectionError);
    });

    test('what may pass is tried again, twice unless said otherwise', async (t) => {
      const wait = { 'retry-after-ms': '1' };
      const { url, received } = await serve(t, (_, response) => reply(response, 503, failure('busy'), wait));
      await assert.rejects(connect(url).chat.completions.create(ASK), exported.InternalServerError);
      assert.deepEqual(received.map(({ headers }) => headers['x-stainless-retry-count']), ['0', '1', '2']);
      await assert.rejects(connect(url).chat.completions.create(ASK, { maxRetries: 1 }), exported.InternalServerError);
      assert.equal(received.length, 5);
    });

    test('x-should-retry is obeyed', async (t) => {
      const headers = { 'x-should-retry': 'false' };
      const { url, received } = await serve(t, (_, response) => reply(response, 429, failure('no'), headers));
      await assert.rejects(connect(url).chat.completions.create(ASK), exported.RateLimitError);
      assert.equal(received.length, 1);
    });

    test('an error in the middle of a stream is raised', async (t) => {
      const said = [chunks(['Hel'])[0], failure('broke')];
      const { url } = await serve(t, (_, response) => stream(response, said));
      const read = [];
      const reading = async () => {
        const given = await connect(url).chat.completions.create({ ...ASK, stream: true });
        for await (const chunk of given) read.push(chunk);
      };
      await assert.rejects(reading(), exported.APIError);
      assert.equal(say(read), 'Hel');
    });

    test('a schema is sent, and its answer parsed', async (t) => {
      const { url, received } = await serve(t, (_, response) => reply(response, 200, completion('{"city":"Paris"}')));
      const response_format = zodResponseFormat(z.object({ city: z.string() }), 'place');
      const { data, response } = await connect(url).chat.completions.parse({ ...ASK, response_format }).withResponse();
      assert.deepEqual(data.choices[0].message.parsed, { city: 'Paris' });
      assert.deepEqual([data._request_id, response.status], ['req_1', 200]);
      assert.equal(received[0].json.response_format.json_schema.name, 'place');
    });

    test('tools are run until there is an answer', async (t) => {
      const call = { role: 'assistant', content: null, refusal: null, tool_calls: [CALL] };
      const asked = { choices: [{ index: 0, message: call, logprobs: null, finish_reason: 'tool_calls' }] };
      const { url, received } = await serve(t, (request, response) =>
        reply(response, 200, request.json.messages.length === 1 ? completion(null, asked) : completion('Sunny.')),
      );
      const run = ({ city }) => `the weather of ${city}`;
      const tool = { ...WEATHER, function: { ...WEATHER.function, function: run, parse: JSON.parse } };
      const runner = connect(url).chat.completions.runTools({ ...ASK, tools: [tool] });
      assert.equal(await runner.finalContent(), 'Sunny.');
      assert.equal(received[1].json.messages.at(-1).content, 'the weather of Paris');
    });

    test('the request is the same', async (t) => {
      const { url, received } = await serve(t, (_, response) => reply(response, 200, completion('Hello.')));
      const defaults = { defaultHeaders: { 'x-mine': '1' }, defaultQuery: { q: '2' } };
      await connect(url, defaults).chat.completions.create({ ...ASK, top_k: 3 }, { headers: { 'x-other': '4' } });
      const { url: path, headers, json } = received[0];
      assert.equal(path, '/v1/chat/completions?q=2');
      assert.deepEqual(json, { ...ASK, top_k: 3 });
      assert.deepEqual([headers.authorization, headers['x-mine'], headers['x-other']], ['Bearer sk-1', '1', '4']);
    });

    test('a key that is fetched for each call, and any other route', async (t) => {
      const { url, received } = await serve(t, (_, response) => reply(response, 200, { fine: true }));
      let count = 0;
      const client = connect(url, { apiKey: async () => `sk-${(count += 1)}` });
      assert.deepEqual(await client.post('/else', { body: { messages: MESSAGES } }), { fine: true });
      await client.get('/else');
      assert.deepEqual(received.map(({ headers }) => headers.authorization), ['Bearer sk-1', 'Bearer sk-2']);
    });
  });
}
