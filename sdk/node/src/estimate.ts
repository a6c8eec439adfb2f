/** `client.estimate()`: what a chat request would take, before it is sent. */
import type { OpenAI } from 'openai';

/** The same body as a chat request's. */
export type EstimateParams = OpenAI.ChatCompletionCreateParams;

export interface Estimate {
  object: 'estimate';
  model: string;
  /** Tokens by the service's own count. */
  prompt_tokens: number;
  max_completion_tokens: number | null;
  /** What the plan must have room for. */
  reserved_tokens: number;
  /** USD as decimal strings: what the prompt costs, and the most that the whole can cost. */
  cost: { prompt: string; maximum: string };
  /** The limits that would apply, and what is left of them now. `credit` is USD, null where it is not prepaid. */
  limits: {
    requests_per_minute: number;
    remaining_requests: number;
    tokens_per_minute: number;
    remaining_tokens: number;
    concurrent: number;
    credit: string | null;
  };
  /** The upstreams that would be tried, in order. */
  route: { provider: string; model: string }[];
  /** Whether it would be let in now, and if not, why. */
  admissible: boolean;
  refusal: string | null;
}
