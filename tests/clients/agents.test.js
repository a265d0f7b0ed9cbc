// The agents of OpenAI's SDK for JavaScript, with the model class that they have by default: it calls the Responses API.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Agent, OpenAIProvider, OpenAIResponsesModel, Runner, tool } from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";

const { OPEN_URL, MODEL_URL } = process.env;
const model = "app-server-default";
const plan = { action: "deploy", dry_run: true, deployment_mode: "local", github_repo_url: "https://github.com/example/notes", target_namespace: "demo", instance_name: "notes" };
const weather = tool({ name: "get_weather", description: "Tells the weather.", parameters: z.object({ city: z.string() }), execute: async ({ city }) => `sunny in ${city}` });
const sunny = "use get_weather for 'Paris'";
const agent = (fields) => new Agent({ name: "helper", instructions: "be kind", model, ...fields });

function at(baseURL) {
  const modelProvider = new OpenAIProvider({ openAIClient: new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 }) });
  return { modelProvider, runner: new Runner({ modelProvider, tracingDisabled: true }) };
}
const { runner } = at(OPEN_URL);
const { runner: smart } = at(MODEL_URL);

async function streamed(runner, ...asked) {
  const result = await runner.run(...asked, { stream: true });
  let text = "";
  for await (const event of result) if (event.type === "raw_model_stream_event" && event.data.type === "output_text_delta") text += event.data.delta;
  await result.completed;
  return { result, text };
}

test("the model class is the one for responses", async () => {
  assert.ok((await at(OPEN_URL).modelProvider.getModel(model)) instanceof OpenAIResponsesModel);
});

test("a run and its stream say the same", async () => {
  const whole = await runner.run(agent(), "hello");
  const { result, text } = await streamed(runner, agent(), "hello");

  assert.ok(whole.finalOutput);
  assert.equal(result.finalOutput, whole.finalOutput);
  assert.equal(text, whole.finalOutput);
});

test("our fields go into providerData", async () => {
  const { finalOutput } = await runner.run(agent({ modelSettings: { providerData: plan } }), "what would happen?");

  assert.match(finalOutput, /notes/);
});

test("its own tools are called and what they say goes back", async () => {
  const whole = await smart.run(agent({ tools: [weather] }), sunny);
  const { result } = await streamed(smart, agent({ tools: [weather] }), sunny);

  for (const it of [whole, result]) {
    assert.equal(it.finalOutput, "The tool says: sunny in Paris");
    assert.equal(it.rawResponses.length, 2);
  }
});

test("our tools are called beside its own", async () => {
  const { finalOutput, rawResponses } = await smart.run(agent({ tools: [weather] }), "please list what is deployed");

  assert.ok(finalOutput);
  assert.equal(rawResponses.length, 1);
});

test("it goes on from a response", async () => {
  const first = await smart.run(agent({ tools: [weather] }), sunny);

  const { finalOutput } = await smart.run(agent(), "and a haiku", { previousResponseId: first.lastResponseId });

  assert.equal(finalOutput, "You said: and a haiku");
});

test("the history of a run can be sent again", async () => {
  const first = await smart.run(agent({ tools: [weather] }), sunny);

  const { finalOutput } = await smart.run(agent(), [...first.history, { role: "user", content: "and a haiku" }]);

  assert.equal(finalOutput, "You said: and a haiku");
});

test("a structured output has its shape", async () => {
  const outputType = z.object({ city: z.string(), inhabitants: z.number() });

  const { finalOutput } = await smart.run(agent({ outputType }), "'Paris' has 2000000 people");

  assert.deepEqual(finalOutput, { city: "Paris", inhabitants: 2000000 });
});

test("it hands over to another agent", async () => {
  const poet = new Agent({ name: "poet", model });

  const { lastAgent } = await smart.run(agent({ handoffs: [poet] }), "transfer_to_poet for a haiku");

  assert.equal(lastAgent.name, "poet");
});

test("what is wrong is the exception of openai", async () => {
  await assert.rejects(runner.run(agent({ modelSettings: { providerData: { action: "deploy" } } }), "deploy"), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
    assert.match(error.message, /deployment_mode/);
    return true;
  });
});
