// Chat, plain and streamed.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { MODELS, PROVIDER_OF, client, user } from './gateway.mjs';

const QUESTION = user('What does a gateway do?');
const PIXEL =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=';

for (const model of MODELS) {
  test(`${model}: a chat is answered`, async () => {
    const answer = await client.chat.completions.create({ model, messages: QUESTION, max_tokens: 64 });

    assert.equal(answer.choices[0].finish_reason, 'stop');
    assert.ok(answer.choices[0].message.content);
    assert.ok(answer.usage.total_tokens > 0);
    assert.equal(answer['x-gateway'].provider, PROVIDER_OF[model]);
  });

  test(`${model}: the headers tell who answered`, async () => {
    const { response } = await client.chat.completions.create({ model, messages: QUESTION }).withResponse();

    assert.equal(response.headers.get('x-gateway-provider'), PROVIDER_OF[model]);
    assert.ok(response.headers.get('x-gateway-model').startsWith(model));
    assert.ok(response.headers.get('x-request-id'));
  });

  test(`${model}: a stream carries usage when asked`, async () => {
    const stream = await client.chat.completions.create({
      model,
      messages: QUESTION,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);

    assert.ok(chunks.flatMap((chunk) => chunk.choices).some((choice) => choice.delta.content));
    const usages = chunks.map((chunk) => chunk.usage).filter(Boolean);
    assert.equal(usages.length, 1);
    assert.ok(usages[0].total_tokens > 0);
  });

  test(`${model}: a stream carries no usage unasked`, async () => {
    const stream = await client.chat.completions.create({ model, messages: QUESTION, stream: true });
    for await (const chunk of stream) assert.ok(!chunk.usage);
  });

  test(`${model}: a stream says what the plain answer says`, async () => {
    const plain = await client.chat.completions.create({ model, messages: QUESTION });
    const streamed = await client.chat.completions.stream({ model, messages: QUESTION }).finalContent();

    assert.equal(streamed, plain.choices[0].message.content);
  });

  test(`${model}: images arrive`, async () => {
    const image = { type: 'image_url', image_url: { url: PIXEL } };
    const messages = user([{ type: 'text', text: 'How many?' }, image, image]);
    const answer = await client.chat.completions.create({ model, messages });

    assert.match(answer.choices[0].message.content, /2/);
    assert.match(answer.choices[0].message.content, /image\/png/);
  });

  test(`${model}: structured output is parsed`, async () => {
    const Article = z.object({ name: z.string(), price: z.number(), tags: z.array(z.string()) });
    const answer = await client.chat.completions.parse({
      model,
      messages: user('[upstream json] Describe a drill.'),
      response_format: zodResponseFormat(Article, 'article'),
    });

    assert.ok(Article.safeParse(answer.choices[0].message.parsed).success);
  });

  test(`${model}: a client that is too impatient times out`, async () => {
    const messages = user('[upstream latency_ms=5000] Take your time.');
    const call = client.chat.completions.create({ model, messages }, { timeout: 500, maxRetries: 0 });

    await assert.rejects(call, OpenAI.APIConnectionTimeoutError);
  });

  test(`${model}: a stream can be aborted`, async () => {
    const messages = user('[upstream delay_ms=50 chunks=400] Tell a long story.');
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    let chunks = 0;
    for await (const _ of stream) {
      chunks += 1;
      stream.controller.abort();
    }

    assert.ok(chunks < 400);
    assert.ok((await client.chat.completions.create({ model, messages: QUESTION })).choices[0].message.content);
  });

  test(`${model}: a plain chat can be aborted`, async () => {
    const controller = new AbortController();
    const messages = user('[upstream latency_ms=5000] Take your time.');
    const call = client.chat.completions.create({ model, messages }, { signal: controller.signal });
    controller.abort();

    await assert.rejects(call, OpenAI.APIUserAbortError);
  });
}
