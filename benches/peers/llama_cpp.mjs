// llama.cpp as the peer of `chat.rs`: the same file, the same prompts, one thread, always the likeliest token.
//
// usage: node llama_cpp.mjs FOLDER MODEL.gguf
// needs: node-llama-cpp below FOLDER (npm install --omit=optional node-llama-cpp @node-llama-cpp/linux-x64)
//
// Reads a line of JSON a round from standard input, {"prompt": TEXT, "tokens": MOST}, and answers it with one:
// {"read": SECONDS, "tokens": COUNT, "speak": SECONDS, "said": COUNT, "cpu": SECONDS, "text": TEXT}.

import path from 'node:path';
import readline from 'node:readline';
import {pathToFileURL} from 'node:url';

const [folder, file] = process.argv.slice(2).map((argument) => path.resolve(argument));
const entry = path.join(folder, 'node_modules/node-llama-cpp/dist/index.js');
const {getLlama} = await import(pathToFileURL(entry).href);
const llama = await getLlama({build: 'never', gpu: false, logLevel: 'error', maxThreads: 1});
const model = await llama.loadModel({modelPath: file});
const context = await model.createContext({contextSize: 2048, threads: 1, batchSize: 512});

async function round({prompt, tokens: most}) {
  const sequence = context.getSequence();
  const tokens = model.tokenize(prompt, true);
  const said = [];
  const before = process.cpuUsage();
  const start = performance.now();
  let first;
  for await (const token of sequence.evaluate(tokens, {temperature: 0})) {
    first ??= performance.now();
    if (model.isEogToken(token)) break;
    said.push(token);
    if (said.length >= most) break;
  }
  const end = performance.now();
  const used = process.cpuUsage(before);
  sequence.dispose();
  return {
    read: (first - start) / 1000, tokens: tokens.length, speak: (end - first) / 1000, said: said.length,
    cpu: (used.user + used.system) / 1e6, text: model.detokenize(said),
  };
}

for await (const line of readline.createInterface({input: process.stdin})) {
  console.log(JSON.stringify(await round(JSON.parse(line))));
}
process.exit(0);
