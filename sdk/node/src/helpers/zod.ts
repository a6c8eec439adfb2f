/** OpenAI's helpers for Zod schemas, under our name: for projects where `openai` itself cannot be imported. */
export * from 'openai/helpers/zod';
