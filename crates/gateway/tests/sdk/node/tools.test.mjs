// Tool calls: several at once, streamed, and the whole loop as the SDK's runner drives it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { MODELS, client, user } from './gateway.mjs';

const WEATHER = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'The weather in a city.',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

const ask = (model, count) => ({ model, messages: user(`[upstream tools=${count}] Rain?`), tools: [WEATHER] });
const argumentsOf = (message) => message.tool_calls.map((call) => JSON.parse(call.function.arguments));

for (const model of MODELS) {
  test(`${model}: tools are called in parallel`, async () => {
    const { choices } = await client.chat.completions.create({ ...ask(model, 2), parallel_tool_calls: true });

    assert.equal(choices[0].finish_reason, 'tool_calls');
    const calls = choices[0].message.tool_calls;
    assert.deepEqual(calls.map((call) => call.function.name), ['get_weather', 'get_weather']);
    assert.notEqual(calls[0].id, calls[1].id);
  });

  test(`${model}: streamed tool calls add up to the plain ones`, async () => {
    const plain = await client.chat.completions.create(ask(model, 2));
    const streamed = await client.chat.completions.stream(ask(model, 2)).finalMessage();

    assert.deepEqual(argumentsOf(streamed), argumentsOf(plain.choices[0].message));
  });

  test(`${model}: the SDK's tool runner comes to an answer`, async () => {
    const asked = [];
    const tool = {
      type: 'function',
      function: {
        ...WEATHER.function,
        parse: JSON.parse,
        function: (input) => {
          asked.push(input);
          return { rain: false };
        },
      },
    };

    const runner = client.chat.completions.runTools({ ...ask(model, 2), tools: [tool] });

    assert.ok(await runner.finalContent());
    assert.equal(asked.length, 2);
  });
}
