// The AI SDK with its provider for OpenAI-compatible servers, and with its own one for OpenAI: with chat completions, and
// with responses, which it takes when nothing else is said.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";

const { OPEN_URL, MODEL_URL } = process.env;
const id = "app-server-default";
const plan = { action: "deploy", dry_run: true, deployment_mode: "local", github_repo_url: "https://github.com/example/notes", target_namespace: "demo", instance_name: "notes" };
const compatible = (baseURL) => createOpenAICompatible({ name: "infra", baseURL, apiKey: "none", includeUsage: true, supportsStructuredOutputs: true })(id);
const own = (baseURL) => createOpenAI({ baseURL, apiKey: "none" }).chat(id);
const responses = (baseURL, options) => createOpenAI({ baseURL, apiKey: "none", ...options })(id);
// What our own fields have to be added to by hand: the provider sends only what it knows.
const withFields = (fields) => ({ fetch: (url, init) => fetch(url, { ...init, body: JSON.stringify({ ...JSON.parse(init.body), ...fields }) }) });

for (const [name, provider] of Object.entries({ compatible, own, responses })) {
  test(`${name}: a whole answer and a stream say the same`, async () => {
    const whole = await generateText({ model: provider(OPEN_URL), prompt: "hello" });
    const stream = streamText({ model: provider(OPEN_URL), prompt: "hello" });
    let text = "";
    for await (const part of stream.textStream) text += part;

    assert.equal(text, whole.text);
    assert.equal(whole.finishReason, "stop");
    assert.equal(await stream.finishReason, "stop");
    assert.deepEqual((await stream.usage).totalTokens, whole.usage.totalTokens);
    assert.equal(whole.response.modelId, id);
  });

  test(`${name}: the model calls a tool and goes on with what it says`, async () => {
    const tools = { get_weather: tool({ inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sunny in ${city}` }) };
    const asked = { model: provider(MODEL_URL), tools, stopWhen: isStepCount(3), prompt: "use get_weather for 'Paris'" };

    const whole = await generateText(asked);
    const streamed = await streamText(asked).text;

    assert.match(whole.text, /sunny in Paris/);
    assert.equal(streamed, whole.text);
    assert.equal(whole.steps.length, 2);
  });

  test(`${name}: a structured answer has its shape`, async () => {
    const schema = z.object({ city: z.string(), inhabitants: z.number().int() });

    const { output } = await generateText({ model: provider(MODEL_URL), output: Output.object({ schema }), prompt: "'Paris' has 2000000 people" });

    assert.equal(typeof output.city, "string");
    assert.equal(output.inhabitants, 2000000);
  });
}

test("responses: a conversation refers to the answers before, or goes on from them", async () => {
  const model = responses(MODEL_URL);
  const said = [{ role: "user", content: "one haiku" }];
  const first = await generateText({ model, messages: said });

  const bodies = [];
  const seeing = responses(MODEL_URL, { fetch: (url, init) => (bodies.push(JSON.parse(init.body)), fetch(url, init)) });
  const again = await generateText({ model: seeing, messages: [...said, ...first.response.messages, { role: "user", content: "another haiku" }] });
  const chained = await generateText({ model: seeing, prompt: "another haiku", providerOptions: { openai: { previousResponseId: first.response.id } } });
  const unkept = await generateText({ model: seeing, messages: [...said, ...first.response.messages, { role: "user", content: "another haiku" }], providerOptions: { openai: { store: false } } });

  for (const { text } of [again, chained, unkept]) assert.equal(text, "You said: another haiku");
  assert.equal(bodies[0].input[1].type, "item_reference");
  assert.equal(bodies[1].previous_response_id, first.response.id);
});

test("responses: our fields are added on the way", async () => {
  const model = responses(OPEN_URL, withFields(plan));

  const { text } = await generateText({ model, prompt: "what would happen?" });
  const streamed = await streamText({ model, prompt: "what would happen?" }).text;

  assert.match(text, /notes/);
  assert.equal(streamed, text);
});

test("responses: a tool that OpenAI runs does not hinder", async () => {
  const { tools } = createOpenAI({ apiKey: "none" });

  const { text } = await generateText({ model: responses(OPEN_URL), prompt: "hello", tools: { web_search: tools.webSearch({}) } });

  assert.ok(text);
});

test("responses: an answer that is cut short says so", async () => {
  const model = createOpenAI({ baseURL: MODEL_URL, apiKey: "none" })("chat");

  const { finishReason } = await generateText({ model, prompt: "get me a long answer with many words", maxOutputTokens: 3 });

  assert.equal(finishReason, "length");
});

test("our fields go into providerOptions", async () => {
  const { text } = await generateText({ model: compatible(OPEN_URL), prompt: "what would happen?", providerOptions: { infra: plan } });

  assert.match(text, /notes/);
});

for (const [name, model] of Object.entries({ compatible: compatible(OPEN_URL), responses: responses(OPEN_URL, withFields({ action: "deploy" })) })) {
  test(`${name}: an error is an APICallError that is not retried`, async () => {
    await assert.rejects(generateText({ model, prompt: "deploy", providerOptions: { infra: { action: "deploy" } } }), (error) => {
      assert.ok(APICallError.isInstance(error), `${error}`);
      assert.equal(error.statusCode, 400);
      assert.equal(error.isRetryable, false);
      assert.match(error.message, /deployment_mode/);
      return true;
    });
  });
}
