// The official OpenAI SDK for Node, unchanged, against a real server: prints what it saw as one JSON object.
import OpenAI from 'openai';

const { BASE_URL: baseURL, KEY: apiKey, LIMITED_KEY: limitedKey } = process.env;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: 'user', content: 'hi' }];
const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }];
const seen = {};

const { data: whole, response } = await client.chat.completions.create({ model: 'gpt-4o', messages }).withResponse();
seen.whole = whole.choices[0].message.content;
seen.model = whole.model;
seen.tokens = whole.usage.total_tokens;
seen.requestId = whole._request_id === response.headers.get('x-request-id') && whole._request_id.startsWith('req_');

async function read(options) {
  const stream = await client.chat.completions.create({ model: 'gpt-4o', messages, stream: true, ...options });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}
const chunks = await read({ stream_options: { include_usage: true } });
seen.streamed = chunks.map((chunk) => chunk.choices[0]?.delta?.content || '').join('');
seen.streamedTokens = chunks.at(-1).usage.total_tokens;
seen.plainUsage = (await read({})).some((chunk) => chunk.usage);

seen.tool = (await client.chat.completions.create({ model: 'gpt-4o', messages, tools })).choices[0].message.tool_calls[0].function.name;
seen.streamedTool = (await read({ tools }))[0].choices[0].delta.tool_calls[0].function.name;

seen.models = [];
for await (const model of client.models.list()) seen.models.push(model.id);
seen.retrieved = (await client.models.retrieve('gpt-4o')).id;

// A stream that is given up in the middle must not disturb the next request on the pooled connection.
for await (const _ of await client.chat.completions.create({ model: 'gpt-4o', messages, stream: true })) break;
seen.afterBreak = (await client.chat.completions.create({ model: 'gpt-4o', messages })).choices[0].message.content;

async function refuse(act) {
  try {
    await act();
    return 'accepted';
  } catch (error) {
    return `${error.constructor.name} ${error.status} ${error.code} ${error.requestID?.startsWith('req_')}`;
  }
}
const ask = (other, options) => () => other.chat.completions.create({ model: 'gpt-4o', messages, ...options });
seen.errors = {
  400: await refuse(ask(client, { temperature: 3 })),
  401: await refuse(ask(new OpenAI({ baseURL, apiKey: 'sk-wrong', maxRetries: 0 }))),
  403: await refuse(ask(new OpenAI({ baseURL, apiKey: limitedKey, maxRetries: 0 }))),
  404: await refuse(ask(client, { model: 'none' })),
  500: await refuse(ask(client, { model: 'fail-500' })),
  503: await refuse(ask(client, { model: 'fail-503' })),
};
console.log(JSON.stringify(seen));
