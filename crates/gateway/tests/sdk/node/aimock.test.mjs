// A second opinion: an imitation of Ollama and of Anthropic that others wrote stands behind the gateway's providers.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { LLMock } from '@copilotkit/aimock';
import OpenAI from 'openai';

import { user } from './gateway.mjs';

const MODEL = 'llama3.2';
const CLAUDE = 'claude-sonnet-4-6';
const PROVIDER_OF = { [MODEL]: 'ollama', [`anthropic/${CLAUDE}`]: 'anthropic' };
const START_LIMIT_MS = 30_000;
const TOOL = {
  type: 'function',
  function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
};

const imitation = new LLMock({ port: 0 });
let folder, gateway, client;

before(async () => {
  // The models that its answers name are the models that it lists.
  for (const model of [MODEL, CLAUDE]) {
    imitation.on({ userMessage: 'hello', model }, { content: 'Hi there, from the other imitation.' });
    imitation.on({ userMessage: 'weather', model }, {
      toolCalls: [
        { name: 'get_weather', arguments: JSON.stringify({ city: 'Oslo' }) },
        { name: 'get_weather', arguments: JSON.stringify({ city: 'Rome' }) },
      ],
    });
  }
  await imitation.start();
  folder = await mkdtemp(join(tmpdir(), 'gateway-aimock-'));
  const port = await freePort();
  gateway = spawn(process.env.GATEWAY_BINARY, ['serve'], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      PORT: `${port}`,
      OLLAMA_URL: imitation.url,
      ANTHROPIC_API_KEY: 'unused',
      ANTHROPIC_BASE_URL: `${imitation.url}/v1`,
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'unused' });
  await isListed();
});

after(async () => {
  const stopped = new Promise((resolve) => gateway.once('exit', resolve));
  gateway.kill();
  await stopped;
  await imitation.stop();
  await rm(folder, { recursive: true });
});

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Until the gateway has started and has discovered what the imitation serves. */
async function isListed() {
  const end = Date.now() + START_LIMIT_MS;
  for (;;) {
    assert.equal(gateway.exitCode, null, 'the gateway ended');
    assert.ok(Date.now() < end, 'the model was not discovered in time');
    const models = await client.models.list({ maxRetries: 0 }).catch(() => ({ data: [] }));
    if (models.data.some((model) => model.owned_by === 'ollama' && model.id.includes(MODEL))) return;
    await pause(20);
  }
}

for (const [model, provider] of Object.entries(PROVIDER_OF)) {
  test(`${provider}: a chat is answered`, async () => {
    const answer = await client.chat.completions.create({ model, messages: user('hello') });

    assert.equal(answer.choices[0].message.content, 'Hi there, from the other imitation.');
    assert.equal(answer.choices[0].finish_reason, 'stop');
    assert.equal(answer['x-gateway'].provider, provider);
  });

  test(`${provider}: a chat is streamed`, async () => {
    const stream = client.chat.completions.stream({ model, messages: user('hello') });

    assert.equal(await stream.finalContent(), 'Hi there, from the other imitation.');
  });

  for (const manner of ['create', 'stream']) {
    test(`${provider}: tools are called (${manner})`, async () => {
      const body = { model, messages: user('weather'), tools: [TOOL] };
      const completion =
        manner === 'create'
          ? await client.chat.completions.create(body)
          : await client.chat.completions.stream(body).finalChatCompletion();

      const [choice] = completion.choices;
      assert.equal(choice.finish_reason, 'tool_calls');
      const cities = choice.message.tool_calls.map((call) => JSON.parse(call.function.arguments).city);
      assert.deepEqual(cities, ['Oslo', 'Rome']);
    });
  }
}
