/** The client: OpenAI's, with our address, our keys, calls that can be repeated safely, and what the service adds. */
import { OpenAI, OpenAIError, type APIPromise, type ClientOptions as OpenAIOptions } from 'openai';
import { Balances } from './balance.js';
import { Chat } from './chat.js';
import type { Estimate, EstimateParams } from './estimate.js';
import { Keys } from './keys.js';
import type { Limits } from './limits.js';
import { Projects } from './projects.js';
import { Usage } from './usage.js';
import { VERSION } from './version.js';

// Ways to reach OpenAI itself or another vendor: neither leads to this service. The last three are openai 7's.
type Elsewhere = 'provider' | 'workloadIdentity' | 'credential' | 'dataResidency' | 'x509Transport';

export interface ClientOptions extends Omit<OpenAIOptions, Elsewhere> {
  /** Your API key (`ts_live_...`), or a function that fetches it. Unless given: TECHSTONE_API_KEY. */
  apiKey?: OpenAIOptions['apiKey'];
  /**
   * The service's address, with or without /v1, for example "https://api.example.com/v1". Unless given:
   * TECHSTONE_BASE_URL, else API_BASE_URL.
   */
  baseURL?: string | null | undefined;
  /** An admin key (`ts_admin_...`) for `keys`, `projects`, `usage` and `balance`. Unless given: TECHSTONE_ADMIN_KEY. */
  adminKey?: string | null | undefined;
}

/**
 * A drop-in replacement for OpenAI's client. What OPENAI_* variables say of keys, addresses and headers is for OpenAI,
 * and is neither used nor sent.
 */
export class TechStoneAI extends OpenAI {
  static TechStoneAI = this;

  override chat: Chat = new Chat(this);
  /** The account's keys. Needs an admin key. */
  keys: Keys = new Keys(this);
  /** What the account's keys are for. Needs an admin key. */
  projects: Projects = new Projects(this);
  /** What was used and what it cost. Needs an admin key. */
  usage: Usage = new Usage(this);
  /** What the account has and what it spent. Needs an admin key. */
  balance: Balances = new Balances(this);

  // The service answers a repeated key from its store, so a retry is never billed twice.
  protected override idempotencyHeader = 'Idempotency-Key';

  static {
    // Defined here because it is private to TypeScript. OpenAI's would give its own version as ours.
    const value = function (this: TechStoneAI) {
      return `${this.constructor.name}/JS ${VERSION}`;
    };
    Object.defineProperty(this.prototype, 'getUserAgent', { value, writable: true, configurable: true });
  }

  constructor({ adminKey, ...options }: ClientOptions = {}) {
    const apiKey = options.apiKey ?? readEnvironment('TECHSTONE_API_KEY') ?? null;
    const adminAPIKey = adminKey ?? options.adminAPIKey ?? readEnvironment('TECHSTONE_ADMIN_KEY') ?? null;
    if (!apiKey && !adminAPIKey) throw new OpenAIError(MISSING_API_KEY);
    const baseURL = resolveBaseURL(options.baseURL);
    const { organization = null, project = null } = options;
    super({ ...options, apiKey, adminAPIKey, baseURL, organization, project });
    // OpenAI's constructor adds what OPENAI_CUSTOM_HEADERS says, which may hold a secret for OpenAI.
    this._options.defaultHeaders = options.defaultHeaders;
  }

  /** The admin key in use. */
  get adminKey(): string | null {
    return this.adminAPIKey;
  }

  set adminKey(key: string | null) {
    this.adminAPIKey = key;
  }

  override withOptions(options: Partial<ClientOptions>): this {
    return super.withOptions(options);
  }

  /** What a chat request would take, and whether it would be let in, without sending it to a model. */
  estimate(body: EstimateParams, options?: OpenAI.RequestOptions): APIPromise<Estimate> {
    return this.post('/estimate', { body, ...options });
  }

  /** What is left of the limits, and who was refused lately. It counts against none of them. */
  limits(options?: OpenAI.RequestOptions): APIPromise<Limits> {
    return this.get('/limits', options);
  }

  // `any`: openai does not export the type of these headers.
  protected override validateHeaders(headers: any, schemes?: { bearerAuth?: boolean }): void {
    try {
      super.validateHeaders(headers, schemes);
    } catch {
      throw new OpenAIError(MISSING_API_KEY); // a client with an admin key only
    }
  }

  override request<Response>(...[options, retries]: Parameters<OpenAI['request']>): APIPromise<Response> {
    // OpenAI notes a call's Idempotency-Key in its options; a copy, so that one object sent twice is two calls.
    const copied = Promise.resolve(options).then((given) => ({ ...given }));
    return super.request(copied, retries);
  }
}

// No message repeats what was given: it may be a key in the wrong place.
const MISSING_API_KEY =
  'The API key is missing. Pass the `apiKey` option or set the environment variable TECHSTONE_API_KEY, ' +
  "for example: new TechStoneAI({ apiKey: 'ts_live_...' })";
const MISSING_BASE_URL =
  'The base URL is missing. Pass the `baseURL` option or set the environment variable TECHSTONE_BASE_URL ' +
  "(or API_BASE_URL), for example: new TechStoneAI({ baseURL: 'https://api.example.com/v1' })";
const INVALID_BASE_URL =
  'The base URL must begin with https:// or http:// and end with its path, for example https://api.example.com/v1';

/** Return the base URL with /v1, given or not: what stands before the service may let only documented paths through. */
function resolveBaseURL(given: string | null | undefined): string {
  const text = given?.trim() || readEnvironment('TECHSTONE_BASE_URL') || readEnvironment('API_BASE_URL');
  if (!text) throw new OpenAIError(MISSING_BASE_URL);
  if (!/^https?:\/\/[^/?#]+(\/[^?#]*)?$/i.test(text)) throw new OpenAIError(INVALID_BASE_URL);
  return `${text.replace(/\/+$/, '').replace(/\/v1$/, '').replace(/\/+$/, '')}/v1`;
}

function readEnvironment(name: string): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.[name]?.trim() || undefined;
}

// The types of OpenAI's namespace under our name, as in `TechStoneAI.ChatCompletionMessageParam`: TypeScript inherits a
// class's statics but not its namespace, so each is named. test/types.test.mjs fails where one is missing.
import type {
  ConversationCursorPageParams, ConversationCursorPageResponse, CursorPageParams, CursorPageResponse,
  NextCursorPageParams, NextCursorPageResponse, PageResponse,
} from 'openai/core/pagination';
import type {
  AudioModel, AudioResponseFormat, AutoFileChunkingStrategyParam, Batch, BatchCreateParams, BatchError, BatchListParams,
  BatchRequestCounts, BatchUsage, BatchesPage, ChatCompletion, ChatCompletionAllowedToolChoice,
  ChatCompletionAllowedTools, ChatCompletionAssistantMessageParam, ChatCompletionAudio, ChatCompletionAudioParam,
  ChatCompletionChunk, ChatCompletionContentPart, ChatCompletionContentPartImage, ChatCompletionContentPartInputAudio,
  ChatCompletionContentPartRefusal, ChatCompletionContentPartText, ChatCompletionCreateParams,
  ChatCompletionCreateParamsNonStreaming, ChatCompletionCreateParamsStreaming, ChatCompletionCustomTool,
  ChatCompletionDeleted, ChatCompletionDeveloperMessageParam, ChatCompletionFunctionCallOption,
  ChatCompletionFunctionMessageParam, ChatCompletionFunctionTool, ChatCompletionListParams, ChatCompletionMessage,
  ChatCompletionMessageCustomToolCall, ChatCompletionMessageFunctionToolCall, ChatCompletionMessageParam,
  ChatCompletionMessageToolCall, ChatCompletionModality, ChatCompletionNamedToolChoice,
  ChatCompletionNamedToolChoiceCustom, ChatCompletionPredictionContent, ChatCompletionRole, ChatCompletionStoreMessage,
  ChatCompletionStreamOptions, ChatCompletionSystemMessageParam, ChatCompletionTokenLogprob, ChatCompletionTool,
  ChatCompletionToolChoiceOption, ChatCompletionToolMessageParam, ChatCompletionUpdateParams,
  ChatCompletionUserMessageParam, ChatCompletionsPage, Completion, CompletionChoice, CompletionCreateParams,
  CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming, CompletionUsage, ContainerCreateParams,
  ContainerCreateResponse, ContainerListParams, ContainerListResponse, ContainerListResponsesPage,
  ContainerRetrieveResponse, CreateEmbeddingResponse, DeletedSkill, Embedding, EmbeddingCreateParams, EmbeddingModel,
  EvalCreateParams, EvalCreateResponse, EvalCustomDataSourceConfig, EvalDeleteResponse, EvalListParams,
  EvalListResponse, EvalListResponsesPage, EvalRetrieveResponse, EvalStoredCompletionsDataSourceConfig,
  EvalUpdateParams, EvalUpdateResponse, FileChunkingStrategy, FileChunkingStrategyParam, FileContent, FileCreateParams,
  FileDeleted, FileListParams, FileObject, FileObjectsPage, FilePurpose, Image, ImageCreateVariationParams,
  ImageEditCompletedEvent, ImageEditParams, ImageEditParamsNonStreaming, ImageEditParamsStreaming,
  ImageEditPartialImageEvent, ImageEditStreamEvent, ImageGenCompletedEvent, ImageGenPartialImageEvent,
  ImageGenStreamEvent, ImageGenerateParams, ImageGenerateParamsNonStreaming, ImageGenerateParamsStreaming,
  ImageInputReferenceParam, ImageModel, ImagesResponse, Model, ModelDeleted, ModelsPage, Moderation,
  ModerationCreateParams, ModerationCreateResponse, ModerationImageURLInput, ModerationModel, ModerationMultiModalInput,
  ModerationTextInput, OtherFileChunkingStrategyObject, Skill, SkillCreateParams, SkillList, SkillListParams,
  SkillUpdateParams, SkillsPage, StaticFileChunkingStrategy, StaticFileChunkingStrategyObject,
  StaticFileChunkingStrategyObjectParam, Upload, UploadCompleteParams, UploadCreateParams, VectorStore,
  VectorStoreCreateParams, VectorStoreDeleted, VectorStoreListParams, VectorStoreSearchParams,
  VectorStoreSearchResponse, VectorStoreSearchResponsesPage, VectorStoreUpdateParams, VectorStoresPage, Video,
  VideoCreateCharacterParams, VideoCreateCharacterResponse, VideoCreateError, VideoCreateParams, VideoDeleteResponse,
  VideoDownloadContentParams, VideoEditParams, VideoExtendParams, VideoGetCharacterResponse, VideoListParams,
  VideoModel, VideoRemixParams, VideoSeconds, VideoSize, VideosPage,
} from 'openai/resources';
import type { ChatCompletionReasoningEffort } from 'openai/resources/chat/completions/completions';
export declare namespace TechStoneAI {
  export import Admin = OpenAI.Admin;
  export import AllModels = OpenAI.AllModels;
  export import Audio = OpenAI.Audio;
  export import Batches = OpenAI.Batches;
  export import Beta = OpenAI.Beta;
  export import Chat = OpenAI.Chat;
  export import ChatModel = OpenAI.ChatModel;
  export import ComparisonFilter = OpenAI.ComparisonFilter;
  export import Completions = OpenAI.Completions;
  export import CompoundFilter = OpenAI.CompoundFilter;
  export import Containers = OpenAI.Containers;
  export import ConversationCursorPage = OpenAI.ConversationCursorPage;
  export import Conversations = OpenAI.Conversations;
  export import CursorPage = OpenAI.CursorPage;
  export import CustomToolInputFormat = OpenAI.CustomToolInputFormat;
  export import Embeddings = OpenAI.Embeddings;
  export import ErrorObject = OpenAI.ErrorObject;
  export import Evals = OpenAI.Evals;
  export import Files = OpenAI.Files;
  export import FineTuning = OpenAI.FineTuning;
  export import FunctionDefinition = OpenAI.FunctionDefinition;
  export import FunctionParameters = OpenAI.FunctionParameters;
  export import Graders = OpenAI.Graders;
  export import Images = OpenAI.Images;
  export import Metadata = OpenAI.Metadata;
  export import Models = OpenAI.Models;
  export import Moderations = OpenAI.Moderations;
  export import NextCursorPage = OpenAI.NextCursorPage;
  export import OAuthErrorCode = OpenAI.OAuthErrorCode;
  export import Page = OpenAI.Page;
  export import Realtime = OpenAI.Realtime;
  export import Reasoning = OpenAI.Reasoning;
  export import ReasoningEffort = OpenAI.ReasoningEffort;
  export import RequestOptions = OpenAI.RequestOptions;
  export import ResponseFormatJSONObject = OpenAI.ResponseFormatJSONObject;
  export import ResponseFormatJSONSchema = OpenAI.ResponseFormatJSONSchema;
  export import ResponseFormatText = OpenAI.ResponseFormatText;
  export import ResponseFormatTextGrammar = OpenAI.ResponseFormatTextGrammar;
  export import ResponseFormatTextPython = OpenAI.ResponseFormatTextPython;
  export import Responses = OpenAI.Responses;
  export import ResponsesModel = OpenAI.ResponsesModel;
  export import Skills = OpenAI.Skills;
  export import Uploads = OpenAI.Uploads;
  export import VectorStores = OpenAI.VectorStores;
  export import Videos = OpenAI.Videos;
  export import Webhooks = OpenAI.Webhooks;
  export type {
    AudioModel, AudioResponseFormat, AutoFileChunkingStrategyParam, Batch, BatchCreateParams, BatchError,
    BatchListParams, BatchRequestCounts, BatchUsage, BatchesPage, ChatCompletion, ChatCompletionAllowedToolChoice,
    ChatCompletionAllowedTools, ChatCompletionAssistantMessageParam, ChatCompletionAudio, ChatCompletionAudioParam,
    ChatCompletionChunk, ChatCompletionContentPart, ChatCompletionContentPartImage, ChatCompletionContentPartInputAudio,
    ChatCompletionContentPartRefusal, ChatCompletionContentPartText, ChatCompletionCreateParams,
    ChatCompletionCreateParamsNonStreaming, ChatCompletionCreateParamsStreaming, ChatCompletionCustomTool,
    ChatCompletionDeleted, ChatCompletionDeveloperMessageParam, ChatCompletionFunctionCallOption,
    ChatCompletionFunctionMessageParam, ChatCompletionFunctionTool, ChatCompletionListParams, ChatCompletionMessage,
    ChatCompletionMessageCustomToolCall, ChatCompletionMessageFunctionToolCall, ChatCompletionMessageParam,
    ChatCompletionMessageToolCall, ChatCompletionModality, ChatCompletionNamedToolChoice,
    ChatCompletionNamedToolChoiceCustom, ChatCompletionPredictionContent, ChatCompletionReasoningEffort,
    ChatCompletionRole, ChatCompletionStoreMessage, ChatCompletionStreamOptions, ChatCompletionSystemMessageParam,
    ChatCompletionTokenLogprob, ChatCompletionTool, ChatCompletionToolChoiceOption, ChatCompletionToolMessageParam,
    ChatCompletionUpdateParams, ChatCompletionUserMessageParam, ChatCompletionsPage, Completion, CompletionChoice,
    CompletionCreateParams, CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming, CompletionUsage,
    ContainerCreateParams, ContainerCreateResponse, ContainerListParams, ContainerListResponse,
    ContainerListResponsesPage, ContainerRetrieveResponse, ConversationCursorPageParams, ConversationCursorPageResponse,
    CreateEmbeddingResponse, CursorPageParams, CursorPageResponse, DeletedSkill, Embedding, EmbeddingCreateParams,
    EmbeddingModel, EvalCreateParams, EvalCreateResponse, EvalCustomDataSourceConfig, EvalDeleteResponse,
    EvalListParams, EvalListResponse, EvalListResponsesPage, EvalRetrieveResponse,
    EvalStoredCompletionsDataSourceConfig, EvalUpdateParams, EvalUpdateResponse, FileChunkingStrategy,
    FileChunkingStrategyParam, FileContent, FileCreateParams, FileDeleted, FileListParams, FileObject, FileObjectsPage,
    FilePurpose, Image, ImageCreateVariationParams, ImageEditCompletedEvent, ImageEditParams,
    ImageEditParamsNonStreaming, ImageEditParamsStreaming, ImageEditPartialImageEvent, ImageEditStreamEvent,
    ImageGenCompletedEvent, ImageGenPartialImageEvent, ImageGenStreamEvent, ImageGenerateParams,
    ImageGenerateParamsNonStreaming, ImageGenerateParamsStreaming, ImageInputReferenceParam, ImageModel, ImagesResponse,
    Model, ModelDeleted, ModelsPage, Moderation, ModerationCreateParams, ModerationCreateResponse,
    ModerationImageURLInput, ModerationModel, ModerationMultiModalInput, ModerationTextInput, NextCursorPageParams,
    NextCursorPageResponse, OtherFileChunkingStrategyObject, PageResponse, Skill, SkillCreateParams, SkillList,
    SkillListParams, SkillUpdateParams, SkillsPage, StaticFileChunkingStrategy, StaticFileChunkingStrategyObject,
    StaticFileChunkingStrategyObjectParam, Upload, UploadCompleteParams, UploadCreateParams, VectorStore,
    VectorStoreCreateParams, VectorStoreDeleted, VectorStoreListParams, VectorStoreSearchParams,
    VectorStoreSearchResponse, VectorStoreSearchResponsesPage, VectorStoreUpdateParams, VectorStoresPage, Video,
    VideoCreateCharacterParams, VideoCreateCharacterResponse, VideoCreateError, VideoCreateParams, VideoDeleteResponse,
    VideoDownloadContentParams, VideoEditParams, VideoExtendParams, VideoGetCharacterResponse, VideoListParams,
    VideoModel, VideoRemixParams, VideoSeconds, VideoSize, VideosPage,
  };
}
