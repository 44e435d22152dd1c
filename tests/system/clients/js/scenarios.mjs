// node scenarios.mjs http://127.0.0.1:5002 answers    prints what came of it as JSON
import { Ollama } from "ollama";

const [host, scenario] = process.argv.slice(2);
const client = new Ollama({ host });
const model = "mock";
const messages = [{ role: "user", content: "Why is the sky blue?" }];
const prompt = messages[0].content;
const options = { temperature: 0 };

const said = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return error.message;
  }
  throw new Error("this should have been refused");
};

const gathered = async (stream, textOf) => {
  let text = "";
  let last;
  let chunks = 0;
  for await (const chunk of stream) {
    text += textOf(chunk);
    last = chunk;
    chunks += 1;
  }
  return { text, last, chunks };
};

const scenarios = {
  async handshake() {
    const { models: listed } = await client.list();
    const { models: running } = await client.ps();
    const { capabilities } = await client.show({ model });
    const { version } = await client.version();
    const names = (models) => models.map((one) => one.name);
    return { listed: names(listed), running: names(running), capabilities, version };
  },

  async answers() {
    const chat = await client.chat({ model, messages, options });
    const generate = await client.generate({ model, prompt, options });
    const { chat: chatStreamed, generate: generateStreamed } = await scenarios.streams();
    return {
      chat: chat.message.content,
      chatStreamed: chatStreamed.text,
      generate: generate.response,
      generateStreamed: generateStreamed.text,
      last: chatStreamed.last,
      chunks: chatStreamed.chunks,
    };
  },

  async streams() {
    return {
      chat: await gathered(
        await client.chat({ model, messages, options, stream: true, keep_alive: "5m" }),
        (chunk) => chunk.message.content,
      ),
      generate: await gathered(
        await client.generate({ model, prompt, options, stream: true, keep_alive: -1 }),
        (chunk) => chunk.response,
      ),
    };
  },

  async refusals() {
    return {
      unknown: await said(client.chat({ model: "nope", messages, stream: true })),
      thinking: await said(client.chat({ model, messages, think: "banana" })),
      embed: await said(client.embed({ model, input: prompt })),
      pull: await said(client.pull({ model: "nope" })),
      pulled: (await client.pull({ model })).status,
    };
  },

  async derived() {
    const made = await client.create({ model: "pirate", from: model, system: "You are a pirate." });
    await client.copy({ source: "pirate", destination: "corsair" });
    const shown = await client.show({ model: "corsair" });
    const answer = await client.chat({ model: "corsair", messages, think: false });
    const running = (await client.ps()).models.length;
    for (const name of ["pirate", "corsair"]) {
      await client.delete({ model: name });
    }
    const left = (await client.list()).models.map((each) => each.name);
    return { made: made.status, system: shown.system, done: answer.done, running, left };
  },

  async abort() {
    const stream = await client.generate({ model, prompt: prompt.repeat(20), stream: true });
    try {
      for await (const _ of stream) {
        client.abort();
      }
    } catch (error) {
      return { error: error.name };
    }
    return { error: null };
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
