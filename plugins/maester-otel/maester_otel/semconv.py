"""Every name that is exported, and where it comes from.

``gen_ai.*`` and ``openai.*``: OpenTelemetry's GenAI semantic conventions, release v0.1.0 of
``open-telemetry/semantic-conventions-genai`` (the first after they left the general conventions).
``error.type``, ``server.*``, ``service.*``, ``user.id``: the general semantic conventions v1.45.0, which
that release builds on. ``maester.*``: what neither has a name for; these are ours.
"""

from __future__ import annotations

from collections.abc import Mapping

SCHEMA_URL = "https://opentelemetry.io/schemas/1.45.0"

# What is asked
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION = "gen_ai.conversation.id"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_TOP_P = "gen_ai.request.top_p"
REQUEST_TOP_K = "gen_ai.request.top_k"
REQUEST_STOP_SEQUENCES = "gen_ai.request.stop_sequences"
REQUEST_SEED = "gen_ai.request.seed"
REQUEST_CHOICES = "gen_ai.request.choice.count"
REQUEST_FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY = "gen_ai.request.presence_penalty"
REQUEST_ENCODING_FORMATS = "gen_ai.request.encoding_formats"
EMBEDDING_DIMENSIONS = "gen_ai.embeddings.dimension.count"
OUTPUT_TYPE = "gen_ai.output.type"
OPENAI_REQUEST_TIER = "openai.request.service_tier"

# What is answered
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
OPENAI_RESPONSE_TIER = "openai.response.service_tier"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
USER_ID = "user.id"

# What was said
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
CAPTURE_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CONTENT_EVENT = "gen_ai.client.inference.operation.details"

# How it was judged
EVALUATION_EVENT = "gen_ai.evaluation.result"
EVALUATION_NAME = "gen_ai.evaluation.name"
EVALUATION_SCORE = "gen_ai.evaluation.score.value"
EVALUATION_LABEL = "gen_ai.evaluation.score.label"
EVALUATION_EXPLANATION = "gen_ai.evaluation.explanation"

# Metrics
TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 - counts tokens
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - counts tokens
TOKEN_BUCKETS = [float(4**power) for power in range(14)]
OPERATION_DURATION = "gen_ai.client.operation.duration"
DURATION_BUCKETS = [0.01 * 2**power for power in range(14)]
OPERATION_FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"

# The process
SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE = "service.instance.id"

# Maester's own
REQUEST_ID = "maester.request.id"
ALIAS = "maester.request.alias"
MODEL = "maester.request.model"
ENTRY_POINT = "maester.entry_point"
STATUS = "maester.status"
PROVIDER_NAME = "maester.provider"
KEY_ID = "maester.key.id"
JOB_ID = "maester.job.id"
TAG = "maester.tag."
COST = "maester.cost.usd"
COST_EXACT = "maester.cost.usd_exact"
COST_PRICED = "maester.cost.priced"
ESTIMATED = "maester.usage.estimated"
ATTEMPTS = "maester.attempts"
FAULTS = "maester.faults"
SPAN_KIND = "maester.span.kind"
ATTEMPT_NUMBER = "maester.attempt.number"
ATTEMPT_STATUS = "maester.attempt.status"
ATTEMPT_INPUT_TOKENS = "maester.attempt.input_tokens"
ATTEMPT_OUTPUT_TOKENS = "maester.attempt.output_tokens"
EVALUATION_PASSED = "maester.evaluation.passed"
EVALUATION_STATE = "maester.evaluation.state"
EVALUATION_REQUIRED = "maester.evaluation.required"
EVALUATOR = "maester.evaluation.evaluator"
COST_COUNTER = "maester.cost"
UNPRICED_COUNTER = "maester.inferences.unpriced"
EVALUATIONS_COUNTER = "maester.evaluations"

_OPERATIONS = {"completions": "text_completion", "responses": "chat"}

_PROVIDERS: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "aws": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "moonshotai": "moonshot_ai",
    "x-ai": "x_ai",
}
"""Maester's provider families whose name differs from the conventions' well-known one."""


def operation_name(operation: str) -> str:
    """The conventions' word for an operation; one they do not know is its own."""
    return _OPERATIONS.get(operation, operation)


def provider_name(family: str | None) -> str:
    """The conventions' word for a provider family; one they do not know is its own."""
    return _PROVIDERS.get(family, family) if family else "unknown"
