// What goes wrong arrives as the exception that the SDK has for it, and is not sent again in vain.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import OpenAI from 'openai';

import { MODELS, countingClient, user } from './gateway.mjs';

/** The error of that class, which came of so many requests. */
async function rejected(kind, body, { sent = 1, ...options } = {}) {
  const { client, requests } = countingClient();
  let caught;
  await assert.rejects(client.chat.completions.create(body, options), (error) => {
    caught = error;
    return error instanceof kind;
  });
  assert.ok(caught.message);
  assert.equal(requests.length, sent);
  return caught;
}

for (const model of MODELS) {
  test(`${model}: a bad field is named`, async () => {
    const error = await rejected(OpenAI.BadRequestError, { model, messages: user('Hello.'), temperature: 'hot' });
    assert.equal(error.param, 'temperature');
  });

  // The gateway has asked the provider twice already, and says so: the SDK does not multiply that.
  test(`${model}: a failing provider is a server error`, async () => {
    const body = { model, messages: user('[upstream status=503] Hello.') };
    const error = await rejected(OpenAI.InternalServerError, body, { sent: 1, maxRetries: 1 });
    assert.ok([502, 503].includes(error.status));
  });

  // Waiting helps here, and the gateway says so: the SDK tries again as often as it was told to.
  test(`${model}: a provider's rate limit is a rate limit error`, async () => {
    const body = { model, messages: user('[upstream status=429 retry_after=1] Hello.') };
    const error = await rejected(OpenAI.RateLimitError, body, { sent: 2, maxRetries: 1 });
    assert.ok(Number(error.headers.get('retry-after')) <= 1);
  });
}

test('an unknown model is not found', async () => {
  const error = await rejected(OpenAI.NotFoundError, { model: 'gpt-4o-minni', messages: user('Hello.') });
  assert.equal(error.code, 'model_not_found');
  assert.match(error.message, /gpt-4o-mini/);
});
