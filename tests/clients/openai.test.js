// openai for Node, as people use it. The servers' addresses come from the environment: see bed.py.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { APIConnectionTimeoutError, AuthenticationError, BadRequestError, NotFoundError, UnprocessableEntityError } from "openai";

const { OPEN_URL, KEYED_URL, MODEL_URL, KEY } = process.env;
const model = "app-server-default";
const messages = [{ role: "user", content: "hello" }];
const plan = { action: "deploy", dry_run: true, deployment_mode: "local", github_repo_url: "https://github.com/example/notes", target_namespace: "demo", instance_name: "notes" };
const client = new OpenAI({ baseURL: OPEN_URL, apiKey: "none" });
const create = (fields, options) => client.chat.completions.create({ model, messages, ...fields }, options);

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}
const textOf = (chunks) => chunks.map((it) => it.choices[0]?.delta.content ?? "").join("");

test("a whole answer and a stream say the same", async () => {
  const whole = await create(plan);
  const chunks = await collect(await create({ ...plan, stream: true, stream_options: { include_usage: true } }));

  assert.match(whole.choices[0].message.content, /notes/);
  assert.equal(textOf(chunks), whole.choices[0].message.content);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.deepEqual(chunks.at(-1).usage, whole.usage);
  assert.ok(chunks.slice(0, -1).every((it) => it.usage === null));
});

test("the stream helper puts the answer together", async () => {
  const runner = client.chat.completions.stream({ model, messages });

  const content = await runner.finalContent();

  assert.equal(content, (await create({})).choices[0].message.content);
});

test("a stream can be left", async () => {
  const stream = await create({ stream: true });
  for await (const chunk of stream) {
    assert.equal(chunk.choices[0].delta.role, "assistant");
    break;
  }

  assert.ok(stream.controller.signal.aborted);
});

test("the raw response has the request's id", async () => {
  const { data, response, request_id } = await client.chat.completions.create({ model, messages }, { headers: { "x-request-id": "mine-2" } }).withResponse();

  assert.equal(response.headers.get("x-request-id"), "mine-2");
  assert.equal(request_id, "mine-2");
  assert.equal(data._request_id, "mine-2");
});

test("models are listed and retrieved", async () => {
  const models = await collect(client.models.list());

  assert.ok(models.some((it) => it.id === model));
  assert.equal((await client.models.retrieve(model)).object, "model");
});

test("what is wrong is the right exception", async () => {
  const refused = (promise, type, fields) =>
    assert.rejects(promise, (error) => {
      assert.ok(error instanceof type, `${error}`);
      assert.ok(error.requestID);
      for (const [name, value] of Object.entries(fields)) assert.equal(error[name], value);
      return true;
    });

  await refused(create({ action: "deploy" }), BadRequestError, { code: "missing_required_parameter", param: "deployment_mode", type: "invalid_request_error" });
  await refused(create({ model: "gpt-2" }), NotFoundError, { code: "model_not_found" });
  await refused(create({ messages: "hi", stream: true }), UnprocessableEntityError, { code: "invalid_type" });
  await refused(client.embeddings.create({ model, input: "x" }), NotFoundError, { code: "no_embedding_model" });
  await refused(new OpenAI({ baseURL: KEYED_URL, apiKey: "not-the-key" }).models.list(), AuthenticationError, { code: "invalid_api_key" });
});

test("the right key opens the door", async () => {
  const models = await collect(new OpenAI({ baseURL: KEYED_URL, apiKey: KEY }).models.list());

  assert.ok(models.length > 0);
});

test("a model's tool call arrives whole, streamed or not", async () => {
  const smart = new OpenAI({ baseURL: MODEL_URL, apiKey: "none" });
  const tool = { type: "function", function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } };
  const asked = { model, messages: [{ role: "user", content: "use get_weather for 'Paris'" }], tools: [tool] };

  const whole = await smart.chat.completions.create(asked);
  const streamed = await smart.chat.completions.stream(asked).finalChatCompletion();

  for (const { choices } of [whole, streamed]) {
    const [call] = choices[0].message.tool_calls;
    assert.equal(choices[0].finish_reason, "tool_calls");
    assert.equal(call.function.name, "get_weather");
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });
    assert.match(call.id, /^call_/);
  }
});

test("a model that takes too long is a time-out of the client", async () => {
  const smart = new OpenAI({ baseURL: MODEL_URL, apiKey: "none", timeout: 300, maxRetries: 0 });

  await assert.rejects(smart.chat.completions.create({ model, messages: [{ role: "user", content: "take your time [slow 2000]" }] }), APIConnectionTimeoutError);
});

test("a response and its stream say the same, and it is kept until it is deleted", async () => {
  const { responses } = client;
  const whole = await responses.create({ model, input: "hello", ...plan });
  const events = await collect(await responses.create({ model, input: "hello", ...plan, stream: true }));
  const helped = await responses.stream({ model, input: "hello", ...plan }).finalResponse();
  const shown = await responses.retrieve(whole.id);
  const followed = await collect(await responses.retrieve(whole.id, { stream: true, starting_after: 2 }));
  const [said] = await collect(responses.inputItems.list(whole.id));
  await responses.delete(whole.id);

  assert.match(whole.output_text, /notes/);
  assert.equal(events.map((it) => it.delta ?? "").join(""), whole.output_text);
  assert.equal(helped.output_text, whole.output_text);
  assert.deepEqual(shown.output, whole.output);
  assert.equal(followed[0].sequence_number, 3);
  assert.equal(said.content[0].text, "hello");
  await assert.rejects(responses.retrieve(whole.id), NotFoundError);
});
