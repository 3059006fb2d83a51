// What our keys, limits and budgets refuse arrives as the SDK's own exceptions, and is retried where that helps only.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import OpenAI from 'openai';

import { countingClient, user } from './gateway.mjs';

async function newKey(limits = {}) {
  const made = await fetch(`${process.env.GATEWAY_URL}/api/admin/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${process.env.GATEWAY_ADMIN_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'sdk', ...limits }),
  });
  assert.equal(made.status, 201);
  return (await made.json()).key;
}

const hello = { model: 'gpt-4o-mini', messages: user('Hello.') };

async function rejected(kind, apiKey, body = hello) {
  const { client, requests } = countingClient(apiKey);
  let caught;
  await assert.rejects(client.chat.completions.create(body), (error) => {
    caught = error;
    return error instanceof kind;
  });
  assert.equal(requests.length, 1);
  return caught;
}

test('a key that opens nothing is an authentication error', async () => {
  await newKey();
  const error = await rejected(OpenAI.AuthenticationError, 'gw-development-mistyped');
  assert.equal(error.code, 'invalid_api_key');
});

test('a model that a key may not use is permission denied', async () => {
  const error = await rejected(OpenAI.PermissionDeniedError, await newKey({ allowed_models: ['llama3.2'] }));
  assert.equal(error.code, 'model_not_allowed');
});

test('a budget that is used up is a rate limit error that is not retried', async () => {
  const key = await newKey({ monthly_budget_tokens: 5 });
  const error = await rejected(OpenAI.RateLimitError, key, { ...hello, max_tokens: 50 });
  assert.equal(error.code, 'budget_exceeded');
  assert.equal(error.headers.get('x-should-retry'), 'false');
});

test('a limit a minute is waited for', async () => {
  const { client, requests } = countingClient(await newKey({ rpm: 60 }));
  for (let refused; !refused; ) {
    await client.chat.completions.create(hello, { maxRetries: 0 }).catch((error) => (refused = error));
    if (refused) {
      assert.ok(refused instanceof OpenAI.RateLimitError);
      assert.equal(refused.headers.get('retry-after'), '1');
    }
  }
  requests.length = 0;
  const began = Date.now();

  const answer = await client.chat.completions.create(hello, { maxRetries: 2 });

  assert.ok(answer.choices[0].message.content);
  assert.equal(requests.length, 2);
  assert.ok(Date.now() - began > 800);
});
