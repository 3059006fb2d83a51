"""The official Python SDK through the gateway. `it::sdk` starts the gateway and its imitation upstreams and runs this.

A prompt can direct the imitation: `[upstream tools=2]`, `[upstream status=503]`, `[upstream delay_ms=50 chunks=40]`.
"""

import os

import anthropic
import openai
import pytest

BASE_URL = os.environ["GATEWAY_URL"] + "/v1"
# No key is configured at the gateway; the SDK insists on one.
KEY = "unused"

# One model behind each dialect: spliced through, or translated there and back.
PROVIDER_OF = {"gpt-4o-mini": "openai", "claude-haiku-4-5-20251001": "anthropic", "llama3.2": "ollama"}
PROVIDER_OF_EMBEDDING = {"text-embedding-3-small": "openai", "nomic-embed-text": "ollama"}


@pytest.fixture
def requests():
    """Every request that the SDK of this test sends, its own retries included."""
    return []


@pytest.fixture
def client(requests):
    http = openai.DefaultHttpxClient(event_hooks={"request": [requests.append]})
    with openai.OpenAI(base_url=BASE_URL, api_key=KEY, http_client=http) as client:
        yield client


@pytest.fixture
def claude():
    """Anthropic's client."""
    with anthropic.Anthropic(base_url=os.environ["GATEWAY_URL"], api_key=KEY) as client:
        yield client


@pytest.fixture(params=PROVIDER_OF)
def model(request):
    return request.param


@pytest.fixture(params=PROVIDER_OF_EMBEDDING)
def embedding_model(request):
    return request.param


def user(text):
    return [{"role": "user", "content": text}]
