/** The public names: our client, what `openai` exports beside its own, and the types of what we add. */
export { TechStoneAI, TechStoneAI as default, type ClientOptions } from './client.js';

export {
  APIConnectionError,
  APIConnectionTimeoutError,
  APIError,
  APIPromise,
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  ConflictError,
  InternalServerError,
  InvalidWebhookSignatureError,
  NotFoundError,
  OAuthError,
  OpenAIError,
  PagePromise,
  PermissionDeniedError,
  RateLimitError,
  SubjectTokenProviderError,
  toFile,
  toStreamingFile,
  UnprocessableEntityError,
  type Uploadable,
} from 'openai';

export type { Balance } from './balance.js';
export type { Estimate, EstimateParams } from './estimate.js';
export type {
  CreatedKey,
  Key,
  KeyCreateParams,
  KeyRotateParams,
  KeyScope,
  KeyUpdateParams,
  RotatedKey,
} from './keys.js';
export type { ConcurrentLimit, Limits, MinuteLimit, RefusedRequest, SpendingCap } from './limits.js';
export type { Moment } from './management.js';
export {
  MeteredStream,
  readRateLimit,
  type Allowance,
  type Metered,
  type MeteredChatCompletion,
  type MeteredChatCompletionChunk,
  type MeteredUsage,
  type RateLimit,
} from './metering.js';
export type { Project, ProjectCreateParams, ProjectUpdateParams } from './projects.js';
export type { UsageListParams, UsageRequest, UsageRequestsPage, UsageRequestsParams, UsageSum } from './usage.js';
export { VERSION } from './version.js';
