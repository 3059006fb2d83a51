"""LangChain's own standard tests of a chat model, through both surfaces, in front of every dialect."""

import os

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from conftest import BASE_URL, KEY, PROVIDER_OF


# The imitations call a tool when they are made to, and answer what they are told; these tests ask for a model that
# understands.
NEEDS_A_MIND = {
    "test_tool_calling",
    "test_tool_calling_async",
    "test_agent_loop",
    "test_unicode_tool_call_integration",
}


@pytest.fixture(autouse=True)
def _within_reach(request):
    if request.node.originalname in NEEDS_A_MIND:
        pytest.skip("needs a model that understands")
    if request.node.originalname == "test_tool_choice" and PROVIDER_OF[request.node.cls.of_provider] == "ollama":
        pytest.skip("Ollama cannot be made to call one of several tools, and the metadata say so")


class Standard(ChatModelIntegrationTests):
    of_provider = None

    @property
    def supports_image_inputs(self):
        return False


class OpenAi(Standard):
    chat_model_class = ChatOpenAI

    @property
    def chat_model_params(self):
        return {"model": self.of_provider, "base_url": BASE_URL, "api_key": KEY, "stream_usage": True}


class Anthropic(Standard):
    chat_model_class = ChatAnthropic

    @property
    def chat_model_params(self):
        return {"model": self.of_provider, "base_url": os.environ["GATEWAY_URL"], "api_key": KEY, "max_tokens": 300}


for _surface in (OpenAi, Anthropic):
    for _model, _provider in PROVIDER_OF.items():
        _name = f"Test{_surface.__name__}To{_provider.title()}"
        globals()[_name] = type(_name, (_surface,), {"of_provider": _model, "__module__": __name__})
