// The Vercel AI SDK through the gateway: its OpenAI and its Anthropic provider, in front of every dialect.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

import { MODELS, PROVIDER_OF } from './gateway.mjs';

const baseURL = `${process.env.GATEWAY_URL}/v1`;
const openai = createOpenAICompatible({
  name: 'gateway',
  baseURL,
  apiKey: 'unused',
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const anthropic = createAnthropic({ baseURL, apiKey: 'unused' });

const get_weather = tool({
  description: 'The weather in a city.',
  inputSchema: z.object({ city: z.string() }),
  execute: async () => ({ rain: false }),
});

for (const [surface, client] of [['chat completions', openai], ['messages', anthropic]]) {
  for (const name of MODELS) {
    const model = client(name);

    test(`${surface} to ${PROVIDER_OF[name]}: a text`, async () => {
      const { text, finishReason, usage } = await generateText({ model, system: 'Be brief.', prompt: 'Hello.', maxRetries: 0 });

      assert.match(text, /^A gateway/);
      assert.equal(finishReason, 'stop');
      assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0);
    });

    test(`${surface} to ${PROVIDER_OF[name]}: a stream`, async () => {
      const result = streamText({ model, prompt: 'Hello.', maxRetries: 0 });
      let text = '';
      for await (const piece of result.textStream) text += piece;

      assert.match(text, /^A gateway stands between/);
      assert.equal(await result.finishReason, 'stop');
      assert.ok((await result.usage).outputTokens > 1);
    });

    test(`${surface} to ${PROVIDER_OF[name]}: a tool loop`, async () => {
      const prompt = '[upstream tools=2] Rain?';
      const { steps, text } = await generateText({ model, prompt, tools: { get_weather }, stopWhen: stepCountIs(3), maxRetries: 0 });

      assert.equal(steps[0].toolCalls.length, 2);
      assert.equal(steps[0].finishReason, 'tool-calls');
      assert.match(text, /The tool says/);
    });

    test(`${surface} to ${PROVIDER_OF[name]}: a streamed tool loop`, async () => {
      const prompt = '[upstream tools=2] Rain?';
      const result = streamText({ model, prompt, tools: { get_weather }, stopWhen: stepCountIs(3), maxRetries: 0 });
      await result.consumeStream();

      const steps = await result.steps;
      assert.deepEqual(steps.map((step) => step.toolCalls.length), [2, 0]);
      assert.match(await result.text, /The tool says/);
    });

    test(`${surface} to ${PROVIDER_OF[name]}: an object`, async () => {
      const schema = z.object({ city: z.string(), rain: z.boolean() });
      const { object } = await generateObject({ model, schema, prompt: 'Rain?', maxRetries: 0 });

      assert.equal(typeof object.city, 'string');
      assert.equal(typeof object.rain, 'boolean');
    });
  }
}
