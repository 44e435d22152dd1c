// node ollama-js.mjs URL
import { Ollama } from "../js/node_modules/ollama/dist/index.mjs";

const client = new Ollama({ host: process.argv[2] });
const messages = [{ role: "user", content: "Why is the sky blue?" }];
await client.version();
await client.list();
await client.show({ model: "mock" });
await client.ps();
await client.chat({ model: "mock", messages });
for await (const _ of await client.chat({ model: "mock", messages, stream: true, keep_alive: -1 }));
for await (const _ of await client.generate({ model: "mock", prompt: "Hello", stream: true }));
