// Not run, only checked by types.test.mjs: a project with CommonJS.
import TechStoneAI, { type MeteredChatCompletion, type RateLimit } from '@techstoneai/sdk';
import { zodResponseFormat } from '@techstoneai/sdk/helpers/zod';
import sdk = require('@techstoneai/sdk');

const client: TechStoneAI = new sdk.TechStoneAI({ apiKey: 'ts_live_1', adminKey: 'ts_admin_1' });

async function use(messages: TechStoneAI.ChatCompletionMessageParam[]): Promise<void> {
  const answer: MeteredChatCompletion = await client.chat.completions.create({ model: 'gpt-4o', messages });
  const limits: RateLimit = answer.rate_limit;
  const stream = await client.chat.completions.create({ model: 'gpt-4o', messages, stream: true });
  for await (const chunk of stream) void chunk.choices[0]?.delta.content;
  const cost: string | null = stream.cost;
  // @ts-expect-error -- money is no number
  const number: number = stream.cost;
  for await (const key of client.keys.list()) void key.hint;
  // @ts-expect-error -- there is no such call
  client.keys.delete('key_1');
  void [limits, cost, number];
}

void [use, zodResponseFormat, sdk.APIError, TechStoneAI.APIError];
