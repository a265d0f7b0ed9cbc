// The official MCP clients for JavaScript: the newest, in both manners that it has, and the one before, which most programs
// still have. They hold `structuredContent` against the tool's `outputSchema` by themselves.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { Client as OldClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as OldStdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport as OldHttpClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const { OPEN_URL, KEYED_URL, FAILING_URL, KEY, PROGRAM } = process.env;
const origin = (url) => new URL(url).origin;
const notes = { deployment_mode: "local", github_repo_url: "https://github.com/example/notes", target_namespace: "demo", instance_name: "notes" };
const textOf = (result) => result.content.map((it) => it.text ?? "").join("\n");

const headers = (key) => (key ? { requestInit: { headers: { authorization: `Bearer ${key}` } } } : {});
const program = (url, key) => ({ command: PROGRAM, args: ["mcp"], env: { ON_DEMAND_INFRA_URL: origin(url), ...(key ? { ON_DEMAND_INFRA_API_KEY: key } : {}) }, stderr: "ignore" });
const newest = (mode, capabilities = {}) => new Client({ name: "tests", version: "1" }, { capabilities, versionNegotiation: { mode } });
const http = (url, key) => new StreamableHTTPClientTransport(new URL("/mcp", origin(url)), headers(key));
const stdio = (url, key) => new StdioClientTransport(program(url, key));
const oldClient = () => new OldClient({ name: "tests", version: "1" });

const ways = {
  "2026-07-28 by http": { version: "2026-07-28", client: () => newest("auto"), transport: http },
  "2026-07-28 by stdio": { version: "2026-07-28", client: () => newest("auto"), transport: stdio },
  "2025-11-25 by http": { version: "2025-11-25", client: () => newest("legacy"), transport: http },
  "2025-11-25 by stdio": { version: "2025-11-25", client: () => newest("legacy"), transport: stdio },
  "the client before, by http": { client: oldClient, transport: (url, key) => new OldHttpClientTransport(new URL("/mcp", origin(url)), headers(key)) },
  "the client before, by stdio": { client: oldClient, transport: (url, key) => new OldStdioClientTransport(program(url, key)) },
};

for (const [name, way] of Object.entries(ways)) {
  describe(name, () => {
    const connected = async (url, work, key) => {
      const client = way.client();
      await client.connect(way.transport(url, key));
      try {
        return await work(client);
      } finally {
        await client.close();
      }
    };
    // The client before takes the schema of the result in between.
    const call = (client, name, fields = {}, options = undefined) =>
      client.callTool({ name, arguments: fields }, ...(way.version ? [options] : [undefined, options]));

    test("it learns what there is", () =>
      connected(OPEN_URL, async (client) => {
        const { tools } = await client.listTools();
        const { prompts } = await client.listPrompts();
        const { resourceTemplates } = await client.listResourceTemplates();
        const prompt = await client.getPrompt({ name: "overview" });

        assert.equal(client.getServerVersion().name, "on-demand-infra");
        if (way.version) assert.equal(client.getNegotiatedProtocolVersion(), way.version);
        assert.ok(["plan", "deploy", "operation_wait", "decommission"].every((it) => tools.some((tool) => tool.name === it)));
        assert.ok(tools.every((it) => it.outputSchema && it.annotations));
        assert.equal(prompts.length, 4);
        assert.equal(resourceTemplates.length, 3);
        assert.ok(prompt.messages[0].content.text);
      }));

    test("a plan is shown, and what is refused is a result", () =>
      connected(OPEN_URL, async (client) => {
        await client.listTools();
        const plan = await call(client, "plan", { action: "deploy", ...notes });
        const list = await call(client, "list");
        const refused = await call(client, "deploy", { deployment_mode: "local" });

        assert.equal(plan.structuredContent.outcome, "plan");
        assert.match(textOf(plan), /notes/);
        assert.deepEqual(list.structuredContent, { deployments: [] });
        assert.equal(refused.isError, true);
        assert.match(textOf(refused), /github_repo_url/);
        await assert.rejects(call(client, "make_coffee"), { code: -32602 });
      }));

    test("a deployment is begun, and its end is waited for with progress", () =>
      connected(FAILING_URL, async (client) => {
        await client.listTools();
        const seen = [];
        const begun = await call(client, "deploy", { ...notes, instance_name: "app-" + name.replaceAll(/[^a-z0-9]+/g, "-") });
        const { id } = begun.structuredContent.operation;
        const waited = await call(client, "operation_wait", { id }, { onprogress: (it) => seen.push(it.progress), resetTimeoutOnProgress: true });
        const read = await client.readResource({ uri: `operation://${id}` });

        assert.equal(begun.structuredContent.outcome, "operation");
        assert.ok(["failed", "undone"].includes(waited.structuredContent.operation.state));
        assert.ok(seen.length > 0);
        assert.ok(read.contents[0].text.includes(id));
      }));

    // By http is enough.
    if (name.endsWith("http"))
      test("a plan is named by its hash, which is a yes", () =>
        connected(FAILING_URL, async (client) => {
          await client.listTools();
          const instance = { ...notes, deployment_mode: "cloud-local", ec2_key_name: "mine", instance_name: "i-" + name.replaceAll(/[^a-z0-9]+/g, "-") };
          const shown = (await call(client, "deploy", instance)).structuredContent;
          const begun = (await call(client, "deploy", { ...instance, confirm: shown.plan.hash })).structuredContent;

          assert.equal(shown.outcome, "confirmation_needed");
          assert.equal(begun.outcome, "operation");
        }));

    test("only the right key opens the door", async () => {
      await connected(KEYED_URL, async (client) => assert.ok((await client.listTools()).tools.length > 0), KEY);
      await assert.rejects(connected(KEYED_URL, (client) => client.listTools(), "not-the-key"));
    });
  });
}

test("whoever can be asked is asked, and only a yes counts", async () => {
  const answers = [{ action: "decline" }, { action: "accept", content: { confirm: true } }];
  const asked = [];
  const client = newest("auto", { elicitation: { form: {} } });
  client.setRequestHandler("elicitation/create", ({ params }) => {
    asked.push(params);
    return answers.shift();
  });
  await client.connect(http(FAILING_URL));
  await client.listTools();
  const instance = { ...notes, deployment_mode: "cloud-local", ec2_key_name: "mine", instance_name: "asked" };

  const declined = await client.callTool({ name: "deploy", arguments: instance });
  const begun = await client.callTool({ name: "deploy", arguments: instance });
  await client.close();

  assert.equal(declined.structuredContent.outcome, "declined");
  assert.equal(begun.structuredContent.outcome, "operation");
  assert.match(asked[0].message, /asked.*/);
  assert.deepEqual(asked[0].requestedSchema.required, ["confirm"]);
});
