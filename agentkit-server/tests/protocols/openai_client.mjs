// The official JavaScript client of OpenAI against a running service: node openai_client.mjs BASE_URL KEY FOLDER,
// where FOLDER holds the installed package `openai`. Ends with status 0 if every check holds.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const [base, key, folder] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const OpenAI = require("openai").default ?? require("openai");

const ANSWER = "At 80\ndegrees [1]";
const client = new OpenAI({ baseURL: base, apiKey: key, maxRetries: 0 });
const messages = [{ role: "user", content: "how hot?" }];

const listed = [];
for await (const model of client.models.list()) listed.push(model.id);
assert.deepEqual(listed, ["default", "agentkit/hashing"]);

const whole = await client.chat.completions.create({ model: "default", messages });
assert.equal(whole.choices[0].message.content, ANSWER);
assert.equal(whole.usage.total_tokens, 7);

let text = "";
let usage = null;
const options = { model: "default", messages, stream: true, stream_options: { include_usage: true } };
for await (const chunk of await client.chat.completions.create(options)) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(text, ANSWER);
assert.equal(usage.completion_tokens, 4);

const parameters = { type: "object", properties: { city: { type: "string" } } };
const tools = [{ type: "function", function: { name: "weather_in", parameters } }];
const weather = [{ role: "user", content: "weather" }];
const asked = await client.chat.completions.create({ model: "default", messages: weather, tools });
const calling = asked.choices[0].message;
assert.deepEqual(calling.tool_calls.map((call) => JSON.parse(call.function.arguments).city), ["Oslo", "Bergen"]);
const results = calling.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "snow" }));
const told = [...weather, calling, ...results];
const ended = await client.chat.completions.create({ model: "default", messages: told, tools });
assert.equal(ended.choices[0].message.content, `${ANSWER}; snow, snow`);
// The helper that calls functions by itself goes round until there is an answer.
const itself = [{ type: "function", function: { name: "weather_in", parameters, parse: JSON.parse, function: () => "sun" } }];
const runner = client.chat.completions.runTools({ model: "default", messages: weather, tools: itself });
assert.equal(await runner.finalContent(), `${ANSWER}; sun, sun`);

const vectors = await client.embeddings.create({ model: "agentkit/hashing", input: "green tea" });
assert.equal(vectors.data[0].embedding.length, 64);

await assert.rejects(client.chat.completions.create({ model: "gpt-5", messages }), {
  name: "Error",
  status: 404,
  code: "model_not_found",
});
const failing = [{ role: "user", content: "fail" }];
const failed = await client.chat.completions.create({ model: "default", messages: failing, stream: true });
await assert.rejects(async () => {
  for await (const _ of failed);
}, /the model went away/);
console.log("checked: openai for JavaScript");
