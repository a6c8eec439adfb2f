"""What works without a configuration: built-in plans, well-known providers, the models that people ask for first.

A provider is enabled by its key in the environment. Without any, every model here is answered by the built-in engine,
and says so. Prices are USD per million tokens, from the providers' price pages, read 2026-08; the example configuration
lists the same models (a test holds the two equal).
"""

from __future__ import annotations

import msgspec

from techstone.core.snapshot import Plan

# Product spec, "Rate Limits". Enterprise is "Custom": a start that an operator overrides in [plans.enterprise].
PLANS = (
    Plan("pay-as-you-go", rpm=60, tpm=150_000, concurrent=5, billing="prepaid"),
    Plan("pro", rpm=500, tpm=2_000_000, concurrent=50, billing="postpaid"),
    Plan("enterprise", rpm=10_000, tpm=20_000_000, concurrent=500, billing="postpaid"),
)


class ProviderPreset(msgspec.Struct, frozen=True):
    """A provider whose key in the environment is enough to use it."""

    name: str
    base_url: str
    api_key_env: str


PROVIDERS = (
    # platform.openai.com/docs/api-reference
    ProviderPreset("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    # docs.claude.com/en/api/openai-sdk: Anthropic's own OpenAI-compatible endpoint
    ProviderPreset("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    # ai.google.dev/gemini-api/docs/openai
    ProviderPreset("google", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    # api-docs.deepseek.com
    ProviderPreset("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
)


class ModelPreset(msgspec.Struct, frozen=True):
    """A model by the name that clients ask for, and who makes it; `input` and `output` are prices."""

    name: str
    provider: str
    context_window: int
    max_output_tokens: int
    input: str
    output: str
    cached_input: str
    reasoning: str | None = None  # None: as output, with every provider here


MODELS = (
    ModelPreset("gpt-4o", "openai", 128_000, 16_384, "2.50", "10.00", "1.25"),
    ModelPreset("gpt-4o-mini", "openai", 128_000, 16_384, "0.15", "0.60", "0.075"),
    ModelPreset("gpt-4.1", "openai", 1_047_576, 32_768, "2.00", "8.00", "0.50"),
    ModelPreset("gpt-4.1-mini", "openai", 1_047_576, 32_768, "0.40", "1.60", "0.10"),
    ModelPreset("claude-sonnet-4-5", "anthropic", 200_000, 64_000, "3.00", "15.00", "0.30"),
    ModelPreset("claude-haiku-4-5", "anthropic", 200_000, 64_000, "1.00", "5.00", "0.10"),
    ModelPreset("gemini-2.5-pro", "google", 1_048_576, 65_536, "1.25", "10.00", "0.125"),
    ModelPreset("gemini-2.5-flash", "google", 1_048_576, 65_536, "0.30", "2.50", "0.03"),
    ModelPreset("deepseek-chat", "deepseek", 128_000, 8_192, "0.28", "0.42", "0.028"),
)
