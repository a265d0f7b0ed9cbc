// openai-agents with its default model, which speaks the Responses API: tools of its own, and this server's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Agent, run, setDefaultOpenAIClient, setTracingDisabled, tool } from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";

setTracingDisabled(true);
setDefaultOpenAIClient(new OpenAI({ baseURL: process.env.MODEL_URL, apiKey: "none" }));

const get_weather = tool({ name: "get_weather", description: "The weather.", parameters: z.object({ city: z.string() }), execute: async ({ city }) => `sunny in ${city}` });
const agent = new Agent({ name: "weather", instructions: "Be short.", model: "app-server-default", tools: [get_weather] });

test("an agent calls its tool and goes on with what it says", async () => {
  const { finalOutput } = await run(agent, "use get_weather for 'Paris'");

  assert.match(finalOutput, /sunny in Paris/);
});

test("the same as a stream", async () => {
  const streamed = await run(agent, "use get_weather for 'Rome'", { stream: true });
  for await (const _ of streamed);
  await streamed.completed;

  assert.match(streamed.finalOutput, /sunny in Rome/);
});

test("this server's tools are called here, and a conversation goes on from its response", async () => {
  const listed = await run(agent, "list");
  const later = await run(agent, "and the list again", { previousResponseId: listed.lastResponseId });

  assert.match(listed.finalOutput, /othing is deployed/);
  assert.match(later.finalOutput, /othing is deployed/);
});
