// Images, sound and moderations.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { toFile } from 'openai';

import { client } from './gateway.mjs';

test('images are made plain and streamed', async () => {
  const made = await client.images.generate({ model: 'gpt-image-1', prompt: 'a cat', n: 2 });
  const stream = await client.images.generate({ model: 'gpt-image-1', prompt: 'a cat', stream: true });
  const types = [];
  for await (const event of stream) types.push(event.type);

  assert.equal(made.data.length, 2);
  assert.deepEqual(types, ['image_generation.partial_image', 'image_generation.completed']);
});

test('sound is transcribed', async () => {
  const file = await toFile(Buffer.alloc(4000, 0xff), 'a.mp3', { type: 'audio/mpeg' });
  const plain = await client.audio.transcriptions.create({ model: 'whisper-1', file });
  const stream = await client.audio.transcriptions.create({ model: 'gpt-4o-transcribe', file, stream: true });
  let last;
  for await (const event of stream) last = event;

  assert.equal(last.type, 'transcript.text.done');
  assert.equal(last.text, plain.text);
});

test('speech is bytes, moderations need no model', async () => {
  const speech = await client.audio.speech.create({ model: 'tts-1', input: 'Hello', voice: 'alloy' });
  const moderation = await client.moderations.create({ input: ['a', 'b'] });

  assert.equal(new Uint8Array(await speech.arrayBuffer())[0], 0xff);
  assert.equal(moderation.results.length, 2);
});
