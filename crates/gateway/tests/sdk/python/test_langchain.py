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
# These force a tool. Ollama cannot be made to call one, and the metadata say so.
FORCES_A_TOOL = {
    "test_bind_runnables_as_tools",
    "test_tool_choice",
    "test_tool_calling_with_no_arguments",
    "test_structured_output_pydantic_2_v1",
}
# LangChain's Anthropic client has structured output by a forced tool only.
BY_FORCED_TOOL = {"test_structured_output", "test_structured_output_async", "test_structured_output_optional_param"}


@pytest.fixture(autouse=True)
def _within_reach(request):
    name, tests = request.node.originalname, request.node.cls
    forced = FORCES_A_TOOL | (BY_FORCED_TOOL if tests.chat_model_class is ChatAnthropic else set())
    if name in NEEDS_A_MIND:
        pytest.skip("needs a model that understands")
    if name in forced and PROVIDER_OF[tests.of_provider] == "ollama":
        pytest.skip("Ollama cannot be made to call a tool")


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
