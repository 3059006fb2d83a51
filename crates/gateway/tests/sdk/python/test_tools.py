"""Tool calls: one, several at once, streamed, and the turn that follows."""

import json

import openai
import pydantic

from conftest import user


class GetWeather(pydantic.BaseModel):
    """The weather in a city."""

    city: str


TOOLS = [openai.pydantic_function_tool(GetWeather, name="get_weather")]


def arguments_of(call):
    assert call.type == "function" and call.function.name == "get_weather" and call.id
    return json.loads(call.function.arguments)


def test_a_tool_is_called(client, model):
    answer = client.chat.completions.create(model=model, messages=user("[upstream tools=1] Rain?"), tools=TOOLS)

    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert len(choice.message.tool_calls) == 1
    assert isinstance(arguments_of(choice.message.tool_calls[0]), dict)


def test_tools_are_called_in_parallel(client, model):
    answer = client.chat.completions.create(
        model=model, messages=user("[upstream tools=2] Rain?"), tools=TOOLS, tool_choice="auto", parallel_tool_calls=True
    )

    calls = answer.choices[0].message.tool_calls
    assert len(calls) == 2 and calls[0].id != calls[1].id
    assert all(isinstance(arguments_of(call), dict) for call in calls)


def test_streamed_tool_calls_add_up_to_the_plain_ones(client, model):
    messages = user("[upstream tools=2] Rain?")
    plain = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)

    with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as stream:
        streamed = stream.get_final_completion()

    assert streamed.choices[0].finish_reason == "tool_calls"
    expected = [arguments_of(call) for call in plain.choices[0].message.tool_calls]
    assert [arguments_of(call) for call in streamed.choices[0].message.tool_calls] == expected


def test_tool_calls_are_told_apart_by_index_in_a_stream(client, model):
    stream = client.chat.completions.create(
        model=model, messages=user("[upstream tools=2] Rain?"), tools=TOOLS, stream=True
    )

    arguments = {}
    for chunk in stream:
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or []:
                arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
    assert sorted(arguments) == [0, 1]
    assert all(isinstance(json.loads(text), dict) for text in arguments.values())


def test_the_model_answers_once_it_has_the_results(client, model):
    messages = user("[upstream tools=2] Rain?")
    first = client.chat.completions.create(model=model, messages=messages, tools=TOOLS).choices[0].message

    messages.append(first.model_dump(exclude_none=True))
    for call in first.tool_calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": '{"rain": false}'})
    messages.append({"role": "user", "content": "So, rain?"})
    second = client.chat.completions.create(model=model, messages=messages, tools=TOOLS).choices[0]

    assert second.finish_reason == "stop" and second.message.content and not second.message.tool_calls
