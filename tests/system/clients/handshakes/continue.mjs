// tsx continue.mjs URL      in a folder with npm's @continuedev/core, whose editor part this drives
import { createRequire } from "node:module";
import { dirname } from "node:path";

const core = createRequire(`${process.cwd()}/`).resolve("@continuedev/core/package.json");
globalThis.__dirname = `${dirname(core)}/dist/llm`; // its modules expect to be bundled
const { default: Ollama } = await import(`${dirname(core)}/dist/llm/llms/Ollama.js`);

const model = new Ollama({ model: "mock", apiBase: `${process.argv[2]}/` });
const { signal } = new AbortController();
let text = "";
for await (const piece of model.streamChat([{ role: "user", content: "Why is the sky blue?" }], signal)) {
  text += piece.content;
}
console.log(text, await model.listModels(), model.contextLength);
process.exit(text.includes("sky blue") ? 0 : 1);
