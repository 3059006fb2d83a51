"""Chat, plain and streamed."""

import asyncio
import base64
import struct
import zlib

import openai
import pydantic
import pytest

from conftest import BASE_URL, KEY, PROVIDER_OF, user

QUESTION = user("What does a gateway do?")


def png():
    """One white pixel."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\xff\xff")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_chat_is_answered(client, model):
    answer = client.chat.completions.create(model=model, messages=QUESTION, temperature=0.2, max_tokens=64)

    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.role == "assistant" and choice.message.content
    assert answer.object == "chat.completion" and answer.id and answer.created > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_every_role_is_understood(client, model):
    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Hello."}, {"type": "text", "text": "Anyone there?"}]},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Good."},
    ]

    assert client.chat.completions.create(model=model, messages=messages).choices[0].message.content


def test_metadata_is_in_the_body_and_the_headers(client, model):
    raw = client.chat.completions.with_raw_response.create(model=model, messages=QUESTION)

    metadata = raw.parse().model_extra["x-gateway"]
    assert metadata["provider"] == PROVIDER_OF[model] == raw.headers["x-gateway-provider"]
    assert raw.headers["x-gateway-model"].startswith(model)
    assert raw.headers["x-request-id"] and raw.headers["x-response-time"]
    assert metadata["cache_hit"] is False and metadata["fallback_used"] is False
    assert metadata["latency_ms"] >= 0 and metadata["cost_usd"] >= 0 and metadata["routing_decision"]


def test_the_clients_request_id_comes_back(client, model):
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=QUESTION, extra_headers={"x-request-id": "order-4711"}
    )

    assert raw.headers["x-request-id"] == "order-4711"


def test_a_stream_carries_usage_when_asked(client, model):
    chunks = list(
        client.chat.completions.create(
            model=model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )

    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(usages) == 1 and usages[0].total_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_carries_no_usage_unasked(client, model):
    chunks = list(client.chat.completions.create(model=model, messages=QUESTION, stream=True))

    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].model_extra["x-gateway"]["provider"] == PROVIDER_OF[model]


def test_a_stream_says_what_the_plain_answer_says(client, model):
    plain = client.chat.completions.create(model=model, messages=QUESTION).choices[0].message.content

    with client.chat.completions.stream(model=model, messages=QUESTION) as stream:
        streamed = stream.get_final_completion().choices[0].message.content

    assert streamed == plain


def test_images_arrive(client, model):
    picture = "data:image/png;base64," + base64.b64encode(png()).decode()
    content = [{"type": "text", "text": "How many?"}] + [{"type": "image_url", "image_url": {"url": picture}}] * 2

    answer = client.chat.completions.create(model=model, messages=user(content))

    assert "2" in answer.choices[0].message.content and "image/png" in answer.choices[0].message.content


class Article(pydantic.BaseModel):
    """What the imitation makes up from a schema has the schema's shape."""

    name: str
    price: float
    tags: list[str]


def test_structured_output_is_parsed(client, model):
    answer = client.chat.completions.parse(
        model=model, messages=user("[upstream json] Describe a drill."), response_format=Article
    )

    assert isinstance(answer.choices[0].message.parsed, Article)


def test_structured_output_is_parsed_from_a_stream(client, model):
    messages = user("[upstream json] Describe a drill.")
    with client.chat.completions.stream(model=model, messages=messages, response_format=Article) as stream:
        message = stream.get_final_completion().choices[0].message

    assert isinstance(message.parsed, Article)


def test_the_asynchronous_client_runs_chats_side_by_side(model):
    async def ask(client):
        plain = client.chat.completions.create(model=model, messages=QUESTION)
        stream = await client.chat.completions.create(model=model, messages=QUESTION, stream=True)
        pieces = [choice.delta.content or "" async for chunk in stream for choice in chunk.choices]
        return (await plain).choices[0].message.content, "".join(pieces)

    async def main():
        async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=KEY) as client:
            return await asyncio.gather(*(ask(client) for _ in range(8)))

    for plain, streamed in asyncio.run(main()):
        assert plain == streamed != ""


def test_a_client_that_is_too_impatient_times_out(client, model):
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5, max_retries=0).chat.completions.create(
            model=model, messages=user("[upstream latency_ms=5000] Take your time.")
        )


def test_a_stream_can_be_left_early(client, model):
    stream = client.chat.completions.create(
        model=model, messages=user("[upstream delay_ms=50 chunks=400] Tell a long story."), stream=True
    )
    assert next(iter(stream)).choices
    stream.close()

    assert client.chat.completions.create(model=model, messages=QUESTION).choices[0].message.content
