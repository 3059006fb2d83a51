// What the suites share: clients for the gateway under test, and the models behind it.

import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

const baseURL = `${process.env.GATEWAY_URL}/v1`;

// One model behind each dialect: spliced through, and translated there and back.
export const PROVIDER_OF = { 'gpt-4o-mini': 'openai', 'claude-haiku-4-5-20251001': 'anthropic', 'llama3.2': 'ollama' };
export const PROVIDER_OF_EMBEDDING = { 'text-embedding-3-small': 'openai', 'nomic-embed-text': 'ollama' };
export const MODELS = Object.keys(PROVIDER_OF);

// No key is configured at the gateway; the SDK insists on one.
export const client = new OpenAI({ baseURL, apiKey: 'unused' });
export const claude = new Anthropic({ baseURL: process.env.GATEWAY_URL, apiKey: 'unused' });

/** A client, and the list of every request it sends, the SDK's own retries included. */
export function countingClient(apiKey = 'unused') {
  const requests = [];
  const counting = (url, options) => {
    requests.push(url);
    return fetch(url, options);
  };
  return { client: new OpenAI({ baseURL, apiKey, fetch: counting }), requests };
}

export const user = (content) => [{ role: 'user', content }];
