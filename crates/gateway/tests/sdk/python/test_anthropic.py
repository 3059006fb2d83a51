"""Anthropic's official SDK through the gateway, in front of every dialect."""

import json

import anthropic
import pydantic
import pytest

from conftest import PROVIDER_OF, user

TOOLS = [
    {
        "name": "get_weather",
        "description": "The weather in a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_message(claude, model):
    message = claude.messages.create(model=model, max_tokens=200, system="Be brief.", messages=user("Hello."))

    assert message.type == "message" and message.role == "assistant" and message.stop_reason == "end_turn"
    assert text_of(message).startswith("A gateway")
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    assert message.model_extra["x-gateway"]["provider"] == PROVIDER_OF[model]


def test_a_stream_adds_up_to_a_message(claude, model):
    with claude.messages.stream(model=model, max_tokens=200, messages=user("Hello.")) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()

    assert text == text_of(message) and text.startswith("A gateway")
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 1


def test_events_come_in_order_and_one_block_at_a_time(claude, model):
    stream = claude.messages.create(
        model=model, max_tokens=200, messages=user("[upstream tools=2] Rain?"), tools=TOOLS, stream=True
    )

    kinds, is_open = [], None
    for event in stream:
        kinds.append(event.type)
        if event.type == "content_block_start":
            assert is_open is None
            is_open = event.index
        elif event.type == "content_block_stop":
            assert is_open == event.index
            is_open = None
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]


def test_a_tool_loop(claude, model):
    messages = user("[upstream tools=2] Rain?")
    with claude.messages.stream(model=model, max_tokens=200, messages=messages, tools=TOOLS) as stream:
        first = stream.get_final_message()

    calls = [block for block in first.content if block.type == "tool_use"]
    assert first.stop_reason == "tool_use" and len(calls) == 2 and calls[0].id != calls[1].id
    assert all(isinstance(call.input, dict) and "city" in call.input for call in calls)
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": json.dumps({"rain": False})} for call in calls]
    messages = [*messages, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = claude.messages.create(model=model, max_tokens=200, messages=messages, tools=TOOLS)

    assert second.stop_reason == "end_turn" and text_of(second)


def test_a_tool_is_forced(claude, model):
    choice = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
    # An imitation that is told to call tools calls whatever it is not offered, too.
    prompt = "Rain?" if PROVIDER_OF[model] == "ollama" else "[upstream tools=3] Rain?"
    message = claude.messages.create(
        model=model, max_tokens=200, messages=user(prompt), tools=TOOLS, tool_choice=choice
    )

    assert [block.name for block in message.content if block.type == "tool_use"] == ["get_weather"]


def test_an_image_is_seen(claude, model):
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png}},
    ]
    message = claude.messages.create(
        model=model, max_tokens=200, messages=[{"role": "user", "content": content}], extra_headers={"x-prefer-provider": PROVIDER_OF[model]}
    )

    assert "I see 1 image" in text_of(message)


def test_structured_output(claude, model):
    class Answer(pydantic.BaseModel):
        city: str
        rain: bool

    message = claude.messages.parse(model=model, max_tokens=200, messages=user("Rain?"), output_format=Answer)

    assert isinstance(message.parsed_output, Answer)


def test_thinking_comes_first_and_signed(claude):
    with claude.messages.stream(
        model="claude-haiku-4-5-20251001",
        max_tokens=4000,
        messages=user("Hello."),
        thinking={"type": "enabled", "budget_tokens": 2000},
    ) as stream:
        message = stream.get_final_message()

    assert message.content[0].type == "thinking" and message.content[0].signature and message.content[0].thinking


def test_reasoning_of_others_comes_as_thinking(claude):
    message = claude.messages.create(model="gpt-4o-mini", max_tokens=200, messages=user("[upstream reasoning] Hello."))

    assert [block.type for block in message.content] == ["thinking", "text"]


def test_tokens_are_counted(claude, model):
    count = claude.messages.count_tokens(model=model, messages=user("Hello there, how are you?"))

    assert 4 < count.input_tokens < 40


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("status=529", anthropic.InternalServerError),
        ("status=429", anthropic.RateLimitError),
        ("error=context_length status=400", anthropic.BadRequestError),
    ],
)
def test_failures_have_their_classes(claude, words, error):
    client = claude.with_options(max_retries=0)
    with pytest.raises(error) as caught:
        client.messages.create(model="claude-haiku-4-5-20251001", max_tokens=9, messages=user(f"[upstream {words}] Hi."))

    assert caught.value.body["type"] == "error" and caught.value.body["error"]["message"]


def test_a_stream_that_fails_raises(claude, model):
    with pytest.raises(anthropic.APIStatusError), claude.messages.stream(
        model=model, max_tokens=200, messages=user("[upstream chunks=8 error_event=3] Hi.")
    ) as stream:
        stream.get_final_message()


def test_an_unknown_model(claude):
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="claude-nobody", max_tokens=9, messages=user("Hi."))


def test_models_are_listed(claude):
    models = {model.id: model for model in claude.models.list()}

    assert models["auto"].type == "model"
    assert claude.models.retrieve("auto").display_name == "auto"
