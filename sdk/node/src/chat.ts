/** `client.chat` with OpenAI's overloads, whose answers carry their limits and cost (metering.ts). */
import type { APIPromise, OpenAI } from 'openai';
import type { ExtractParsedContentFromParams } from 'openai/lib/parser';
import { Chat as OpenAIChat } from 'openai/resources/chat/chat';
import {
  Completions as OpenAICompletions,
  type ChatCompletionCreateParamsBase,
  type ChatCompletionParseParams,
  type ParsedChatCompletion,
} from 'openai/resources/chat/completions/completions';
import { meter, MeteredStream, type MeteredChatCompletion } from './metering.js';

export class Completions extends OpenAICompletions {
  override create(
    body: OpenAI.ChatCompletionCreateParamsNonStreaming,
    options?: OpenAI.RequestOptions,
  ): APIPromise<MeteredChatCompletion>;
  override create(
    body: OpenAI.ChatCompletionCreateParamsStreaming,
    options?: OpenAI.RequestOptions,
  ): APIPromise<MeteredStream>;
  override create(
    body: ChatCompletionCreateParamsBase,
    options?: OpenAI.RequestOptions,
  ): APIPromise<MeteredStream | MeteredChatCompletion>;
  override create(
    body: OpenAI.ChatCompletionCreateParams,
    options?: OpenAI.RequestOptions,
  ): APIPromise<MeteredChatCompletion> | APIPromise<MeteredStream> {
    if (body.stream) {
      const streamed = super.create(body, options);
      return streamed._thenUnwrap((stream, { response }) => new MeteredStream(stream, response.headers));
    }
    return super.create(body, options)._thenUnwrap((answer, { response }) => meter(answer, response.headers));
  }

  override parse<Params extends ChatCompletionParseParams, ParsedT = ExtractParsedContentFromParams<Params>>(
    body: Params,
    options?: OpenAI.RequestOptions,
  ): APIPromise<ParsedChatCompletion<ParsedT> & MeteredChatCompletion> {
    // OpenAI parses into a copy of what create() gave; so the copy is metered again.
    const parsed = super.parse<Params, ParsedT>(body, options);
    return parsed._thenUnwrap((answer, { response }) => meter(answer, response.headers));
  }
}

export class Chat extends OpenAIChat {
  override completions: Completions = new Completions(this._client);
}
