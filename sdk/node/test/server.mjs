// A real HTTP server that answers as a test says, and remembers what it was asked.
import { createServer } from 'node:http';
import { once } from 'node:events';

/** Serve until the test ends. `answer(request, response)` gets the request with its `text` and `json` read. */
export async function serve(test, answer) {
  const received = [];
  const server = createServer(async (request, response) => {
    request.text = Buffer.concat(await request.toArray()).toString();
    request.json = request.text ? JSON.parse(request.text) : undefined;
    received.push(request);
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, received };
}

/** Answer with JSON. */
export function reply(response, status, body, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', 'x-request-id': 'req_1', ...headers });
  response.end(JSON.stringify(body));
}

/** Answer with a stream of these chunks. */
export function stream(response, chunks, headers = {}) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'x-request-id': 'req_1', ...headers });
  for (const chunk of chunks) response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  response.end('data: [DONE]\n\n');
}

export const USAGE = { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 };

export function completion(content, more = {}) {
  const message = { role: 'assistant', content, refusal: null };
  const choices = [{ index: 0, message, logprobs: null, finish_reason: 'stop' }];
  return { id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: 'gpt-4o', choices, usage: USAGE, ...more };
}

export function chunks(words, usage) {
  const base = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'gpt-4o' };
  const said = words.map((content) => ({ ...base, choices: [{ index: 0, delta: { content }, finish_reason: null }] }));
  const stop = { ...base, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] };
  return [...said, stop, ...(usage ? [{ ...base, choices: [], usage }] : [])];
}

export function failure(message, code = null) {
  return { error: { message, type: 'some_error', param: null, code } };
}

export const MESSAGES = [{ role: 'user', content: 'hi' }];
export const ASK = { model: 'gpt-4o', messages: MESSAGES };
