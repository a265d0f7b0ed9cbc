// A chat model for tests: OpenAI's protocol at /v1, Azure's two ways at /openai, answers made up from the request.
//
// It calls a tool when it must, or when the conversation mentions one by its name; it fills arguments and structured
// answers from their schema (or from the `### Output:` of a chat page's task) with the numbers and words of the
// conversation. Directives in the last message make it fail:
//   [status 503] [status 429 40] (with retry-after-ms)   [fails 2 503]: so many times for the same text, then well
//   [arguments {...}] are those of the call
//   [cut] ends in mid-stream   [slow 300] waits so many ms   [garbage] broken arguments   [filter] the content filter
// GET /requests lists what has arrived, headers and body; DELETE /requests forgets it.
// Beside it a model for embeddings, whose vectors are all the same.
// PORT, KEY, NAME and EMBEDDING_NAME (of the models, and of Azure's deployments) come from the environment.
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";

const { PORT, KEY, NAME, EMBEDDING_NAME } = process.env;
const KEPT = 200;
let requests = [];
const failures = new Map();

const error = (status, message, code, headers = {}, type = null, param = null) => ({ status, headers, body: { error: { message, type, param, code } } });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const number = () => Math.floor(Date.now() / 1000);

function textOf(content) {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text ?? "").join(" ");
}

// What a schema asks for, from the words that were said. Each number and each quoted word is used once.
function instance(schema, said, root = schema) {
  if (schema.$ref) {
    const found = schema.$ref.split("/").slice(1).reduce((at, name) => at?.[name], root);
    return instance(found ?? {}, said, root);
  }
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum.find((it) => said.text.includes(String(it))) ?? schema.enum[0];
  const any = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (any) return instance(any.find((it) => it.type !== "null") ?? any[0], said, root);
  switch (Array.isArray(schema.type) ? schema.type[0] : schema.type) {
    case "object":
    case undefined: {
      const names = schema.required ?? Object.keys(schema.properties ?? {});
      return Object.fromEntries(names.map((name) => [name, instance(schema.properties?.[name] ?? {}, said, root)]));
    }
    case "array":
      return [instance(schema.items ?? { type: "string" }, said, root)];
    case "integer":
      return Math.trunc(said.numbers.shift() ?? 1);
    case "number":
      return said.numbers.shift() ?? 1;
    case "boolean":
      return true;
    case "null":
      return null;
    default:
      return said.words.shift() ?? "something";
  }
}

function said(text) {
  const quoted = [...text.matchAll(/["'`“]([^"'`”]+)["'`”]/gu)].map((it) => it[1]);
  const named = [...text.matchAll(/(?<=\s)\p{Lu}[\p{L}\p{N}]+/gu)].map((it) => it[0]);
  return { text, numbers: [...text.matchAll(/-?\d+(\.\d+)?/g)].map((it) => Number(it[0])), words: [...quoted, ...named] };
}

// The tool to call, if any: the one that is forced, else the one whose name the person mentions.
function toolFor(body, text) {
  const tools = (body.tools ?? []).filter((it) => it.type === "function").map((it) => it.function);
  const choice = body.tool_choice ?? "auto";
  if (!tools.length || choice === "none") return undefined;
  if (choice?.function) return tools.find((it) => it.name === choice.function.name);
  const plain = text.toLowerCase();
  const mentioned = tools.find((it) => plain.includes(it.name.toLowerCase()) || plain.includes(it.name.toLowerCase().replaceAll("_", " ")));
  const alike = tools.find((it) => it.name.toLowerCase().split("_").some((word) => word.length > 4 && plain.includes(word)));
  return mentioned ?? alike ?? (choice === "required" ? tools[0] : undefined);
}

function answerTo(body) {
  const last = body.messages.at(-1) ?? {};
  const words = body.messages.filter((it) => it.role === "user").map((it) => textOf(it.content));
  // A yes is to what was said before: the same tool is called again.
  const person = words.findLast((it, index) => index === 0 || !/^yes\b/i.test(it)) ?? "";
  const tool = last.role === "tool" || last.role === "function" ? undefined : toolFor(body, person);
  if (tool) {
    const given = person.match(/\[arguments (\{.*\})\]/)?.[1] ?? JSON.stringify(instance(tool.parameters ?? {}, said(person)));
    const text = person.includes("[garbage]") ? '{"broken' : given;
    return { content: null, tool_calls: [{ id: `call_${randomUUID().slice(0, 24).replaceAll("-", "")}`, type: "function", function: { name: tool.name, arguments: text } }] };
  }
  const shape = person.match(/### Output:[^{]*\{\s*"(\w+)"/);
  if (shape) return { content: JSON.stringify({ [shape[1]]: ["something"] }) };
  const format = body.response_format ?? { type: "text" };
  if (format.type === "json_schema") return { content: JSON.stringify(instance(format.json_schema.schema ?? {}, said(person))) };
  if (format.type === "json_object") {
    const keys = [...person.matchAll(/[`'"](\w+)[`'"]/g)].map((it) => it[1]);
    return { content: JSON.stringify(Object.fromEntries((keys.length ? keys : ["answer"]).map((key) => [key, "because it is so"]))) };
  }
  if (last.role === "tool") return { content: `The tool says: ${textOf(last.content)}` };
  return { content: `You said: ${person}` };
}

// What comes of stop sequences and of the limit of tokens, at a word each.
function cutShort(content, body) {
  let finish = "stop";
  for (const stop of [body.stop ?? []].flat()) {
    const at = content.indexOf(stop);
    if (at >= 0) content = content.slice(0, at);
  }
  const words = content.split(/(?<=\s)/);
  const most = body.max_completion_tokens ?? body.max_tokens;
  if (most > 0 && words.length > most) [content, finish] = [words.slice(0, most).join(""), "length"];
  return { content, finish };
}

function usageOf(body, answer) {
  const prompt = body.messages.reduce((sum, it) => sum + 4 + Math.ceil(textOf(it.content).length / 4), 3);
  const completion = Math.max(1, Math.ceil((answer.content ?? JSON.stringify(answer.tool_calls)).length / 4));
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
  };
}

const SAFE = Object.fromEntries(["hate", "self_harm", "sexual", "violence"].map((it) => [it, { filtered: false, severity: "safe" }]));
const LOGPROBS = { content: [{ token: "x", logprob: -0.1, bytes: [120], top_logprobs: [] }], refusal: null };

async function complete(body, azure, response) {
  const text = textOf(body.messages?.at(-1)?.content);
  const directive = (pattern) => text.match(pattern);
  const slow = directive(/\[slow (\d+)\]/);
  if (slow) await sleep(Number(slow[1]));
  if (!Array.isArray(body.messages) || !body.messages.length) return error(400, "'messages' must not be empty", "invalid_value", {}, "invalid_request_error", "messages");
  const status = directive(/\[status (\d+)(?: (\d+))?\]/);
  if (status) return error(Number(status[1]), "as the message asks", status[1], status[2] ? { "retry-after-ms": status[2] } : {});
  const fails = directive(/\[fails (\d+) (\d+)\]/);
  if (fails) {
    const count = (failures.get(text) ?? 0) + 1;
    failures.set(text, count);
    if (count <= Number(fails[1])) return error(Number(fails[2]), `failure ${count}`, fails[2], { "retry-after-ms": "10" });
  }
  if (text.includes("[filter]")) {
    const refusal = error(400, "The response was filtered due to the prompt triggering the content management policy. Please modify your prompt and retry.", "content_filter", {}, null, "prompt");
    refusal.body.error.innererror = { code: "ResponsibleAIPolicyViolation", content_filter_result: { ...SAFE, violence: { filtered: true, severity: "medium" } } };
    return refusal;
  }

  const answer = answerTo(body);
  let finish = "tool_calls";
  if (answer.content !== null) ({ content: answer.content, finish } = cutShort(answer.content, body));
  const head = { id: `chatcmpl-${randomUUID()}`, created: number(), model: NAME, system_fingerprint: "fp_test" };
  const usage = usageOf(body, answer);
  const filtered = azure ? { content_filter_results: SAFE } : {};
  const prompt = azure ? { prompt_filter_results: [{ prompt_index: 0, content_filter_results: SAFE }] } : {};
  if (!body.stream) {
    const message = { role: "assistant", refusal: null, ...answer, annotations: [] };
    const choice = { index: 0, message, logprobs: body.logprobs ? LOGPROBS : null, finish_reason: finish, ...filtered };
    return { status: 200, body: { ...head, object: "chat.completion", choices: [choice], usage, ...prompt } };
  }

  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "x-request-id": randomUUID() });
  const includeUsage = body.stream_options?.include_usage === true;
  const send = (part) => response.write(`data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", ...(includeUsage ? { usage: null } : {}), ...part })}\n\n`);
  const chunk = (delta, reason = null) => send({ choices: [{ index: 0, delta, logprobs: null, finish_reason: reason, ...filtered }] });
  if (azure) response.write(`data: ${JSON.stringify({ choices: [], created: 0, id: "", model: "", object: "", ...prompt })}\n\n`);
  chunk({ role: "assistant", content: answer.tool_calls ? null : "", refusal: null });
  for (const [index, call] of (answer.tool_calls ?? []).entries()) {
    chunk({ tool_calls: [{ index, id: call.id, type: "function", function: { name: call.function.name, arguments: "" } }] });
    for (const piece of call.function.arguments.match(/.{1,8}/gsu) ?? []) chunk({ tool_calls: [{ index, function: { arguments: piece } }] });
  }
  const pieces = (answer.content ?? "").split(/(?<=\s)/);
  for (const [index, piece] of pieces.entries()) {
    if (text.includes("[cut]") && index > pieces.length / 2) {
      await sleep(50); // so that what was said is under way
      return response.destroy();
    }
    if (piece) chunk({ content: piece });
  }
  chunk({}, finish);
  if (includeUsage) send({ choices: [], usage });
  response.end("data: [DONE]\n\n");
}

function embeddings({ input, encoding_format: format }) {
  const vector = [0.25, -0.5];
  const embedding = format === "base64" ? Buffer.from(new Float32Array(vector).buffer).toString("base64") : vector;
  const data = [input].flat().map((_, index) => ({ object: "embedding", index, embedding }));
  return { status: 200, body: { object: "list", data, model: EMBEDDING_NAME, usage: { prompt_tokens: 3, total_tokens: 3 } } };
}

function route(request, url, body) {
  const bearer = request.headers.authorization === `Bearer ${KEY}`;
  const apiKey = request.headers["api-key"] === KEY;
  const embeds = url.pathname.endsWith("/embeddings");
  const [api, name] = embeds ? ["embeddings", EMBEDDING_NAME] : ["chat/completions", NAME];
  if (url.pathname === `/v1/${api}` || url.pathname === `/openai/v1/${api}`) {
    const azure = url.pathname.startsWith("/openai");
    if (!bearer && !(azure && apiKey)) return error(401, "Incorrect API key provided.", "invalid_api_key", {}, "invalid_request_error");
    if (body.model !== name) return error(404, `The model '${body.model}' does not exist or you do not have access to it.`, azure ? "DeploymentNotFound" : "model_not_found");
    return { azure, embeds };
  }
  const deployment = url.pathname.match(/^\/openai\/deployments\/([^/]+)\/(?:chat\/completions|embeddings)$/);
  if (!deployment || !url.searchParams.get("api-version")) return error(404, "Resource not found", "404");
  if (!apiKey) return error(401, "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.", "401");
  if (deployment[1] !== name) return error(404, "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.", "DeploymentNotFound");
  return { azure: true, embeds };
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://model");
  const say = ({ status, headers = {}, body }) => {
    const text = JSON.stringify(body);
    response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text), "x-request-id": randomUUID(), ...headers }).end(text);
  };
  if (url.pathname === "/requests") {
    const body = requests;
    if (request.method === "DELETE") requests = [];
    return say({ status: 200, body });
  }
  const parts = [];
  for await (const part of request) parts.push(part);
  let body;
  try {
    body = JSON.parse(Buffer.concat(parts).toString());
  } catch {
    return say(error(400, "We could not parse the JSON body of your request.", null, {}, "invalid_request_error"));
  }
  requests.push({ path: request.url, headers: request.headers, body });
  if (requests.length > KEPT) requests.shift();
  const found = route(request, url, body);
  const answer = found.status ? found : found.embeds ? embeddings(body) : await complete(body, found.azure, response);
  if (answer?.status) say(answer);
});
server.keepAliveTimeout = 60_000;
server.listen(Number(PORT), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
