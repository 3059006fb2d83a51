// Embeddings, and the list of models.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import OpenAI from 'openai';

import { PROVIDER_OF, PROVIDER_OF_EMBEDDING, client } from './gateway.mjs';

for (const model of Object.keys(PROVIDER_OF_EMBEDDING)) {
  test(`${model}: floats and base64 are the same numbers`, async () => {
    const plain = await client.embeddings.create({ model, input: 'one text', encoding_format: 'float' });
    // Without encoding_format the SDK asks for base64 and decodes it itself.
    const decoded = await client.embeddings.create({ model, input: 'one text' });

    assert.ok(plain.data[0].embedding.length > 0);
    assert.deepEqual(decoded.data[0].embedding, plain.data[0].embedding.map(Math.fround));
  });
}

test('models are listed and looked up', async () => {
  const owners = new Set();
  for await (const model of client.models.list()) owners.add(model.owned_by);

  for (const [model, provider] of Object.entries(PROVIDER_OF)) {
    assert.ok(owners.has(provider));
    assert.equal((await client.models.retrieve(model)).owned_by, provider);
  }
  await assert.rejects(client.models.retrieve('no-such-model'), OpenAI.NotFoundError);
});
