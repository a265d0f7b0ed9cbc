// Says one thing to the server and prints the answer as it comes.
//
//   node chat.js deploy the page action=deploy deployment_mode=local github_repo_url=URL target_namespace=demo instance_name=hello
//   node chat.js what is running?
//
// Words are the message. `name=value` is a field of the request; with `action` among them the server does not read the message.
// OPENAI_BASE_URL (http://127.0.0.1:8000/v1) and OPENAI_API_KEY are where the server is and its key.
import OpenAI from "openai";

const given = process.argv.slice(2);
const isField = (it) => /^[a-z_]+=/.test(it);
const words = given.filter((it) => !isField(it));
const fields = Object.fromEntries(given.filter(isField).map((it) => [it.slice(0, it.indexOf("=")), it.slice(it.indexOf("=") + 1)]));

const client = new OpenAI({
  baseURL: process.env.OPENAI_BASE_URL ?? "http://127.0.0.1:8000/v1",
  apiKey: process.env.OPENAI_API_KEY ?? "none",
});
const stream = await client.chat.completions.create({
  model: "app-server-default",
  messages: [{ role: "user", content: words.join(" ") || fields.action || "hello" }],
  stream: true,
  ...fields,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
process.stdout.write("\n");
