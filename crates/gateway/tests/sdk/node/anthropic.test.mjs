// Anthropic's official SDK through the gateway, in front of every dialect.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';

import { MODELS, PROVIDER_OF, claude, user } from './gateway.mjs';

const TOOLS = [
  {
    name: 'get_weather',
    description: 'The weather in a city.',
    input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
];

const textOf = (message) => message.content.filter((block) => block.type === 'text').map((block) => block.text).join('');

for (const model of MODELS) {
  test(`${model}: a message`, async () => {
    const message = await claude.messages.create({ model, max_tokens: 200, system: 'Be brief.', messages: user('Hello.') });

    assert.equal(message.stop_reason, 'end_turn');
    assert.match(textOf(message), /^A gateway/);
    assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
    assert.equal(message['x-gateway'].provider, PROVIDER_OF[model]);
  });

  test(`${model}: a stream adds up to a message`, async () => {
    const stream = claude.messages.stream({ model, max_tokens: 200, messages: user('Hello.') });
    let text = '';
    stream.on('text', (piece) => (text += piece));

    const message = await stream.finalMessage();

    assert.equal(text, textOf(message));
    assert.match(text, /^A gateway/);
    assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 1);
  });

  test(`${model}: a tool loop`, async () => {
    const messages = user('[upstream tools=2] Rain?');
    const first = await claude.messages.stream({ model, max_tokens: 200, messages, tools: TOOLS }).finalMessage();

    const calls = first.content.filter((block) => block.type === 'tool_use');
    assert.equal(first.stop_reason, 'tool_use');
    assert.equal(calls.length, 2);
    assert.ok(calls.every((call) => typeof call.input.city === 'string'));
    const results = calls.map((call) => ({ type: 'tool_result', tool_use_id: call.id, content: '{"rain": false}' }));
    const second = await claude.messages.create({
      model,
      max_tokens: 200,
      tools: TOOLS,
      messages: [...messages, { role: 'assistant', content: first.content }, { role: 'user', content: results }],
    });

    assert.equal(second.stop_reason, 'end_turn');
    assert.ok(textOf(second));
  });

  test(`${model}: tokens are counted`, async () => {
    const { input_tokens: tokens } = await claude.messages.countTokens({ model, messages: user('Hello there, how are you?') });

    assert.ok(tokens > 4 && tokens < 40);
  });

  test(`${model}: a stream that fails raises`, async () => {
    const stream = claude.messages.stream({ model, max_tokens: 200, messages: user('[upstream chunks=8 error_event=3] Hi.') });

    await assert.rejects(stream.finalMessage(), Anthropic.APIError);
  });
}

test('an unknown model', async () => {
  const asked = claude.messages.create({ model: 'claude-nobody', max_tokens: 9, messages: user('Hi.') });

  await assert.rejects(asked, Anthropic.NotFoundError);
});
