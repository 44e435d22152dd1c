// The chat: one conversation with /api/chat.

import { element, find } from "./dom.js";
import { markdown } from "./markdown.js";
import { call, objects } from "./net.js";

const history = [];
const speeds = [];
let stop = null;

export function setUpChat(fail) {
  find("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask(fail);
  });
  find("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      find("ask").requestSubmit();
    }
  });
  find("stop").addEventListener("click", () => stop?.abort());
  find("clear").addEventListener("click", () => {
    stop?.abort();
    history.length = 0;
    find("messages").replaceChildren();
    find("question").focus();
  });
}

async function ask(fail) {
  const question = find("question").value.trim();
  if (!question || stop) return;
  const message = { role: "user", content: question };
  const file = find("picture").hidden ? null : find("picture").files[0];
  const shown = element("div", { className: "message user" }, question);
  if (file) {
    message.images = [await base64(file)];
    shown.append(element("img", { src: URL.createObjectURL(file), alt: "the picture that was sent" }));
    find("picture").value = "";
  }
  history.push(message);
  find("question").value = "";
  const thinking = element("details", { className: "thinking", hidden: true }, element("summary", {}, "Thinking"));
  const thoughts = element("div");
  thinking.append(thoughts);
  const text = element("div", {}, element("span", { className: "quiet" }, "…"));
  const speed = element("div", { className: "speed" });
  find("messages").append(shown, element("div", { className: "message" }, thinking, text, speed));
  await answer(fail, { thinking, thoughts, text, speed });
}

// Where the question waits; the headers come after some seconds in the queue.
function placeOf(headers) {
  const position = headers.get("X-Queue-Position");
  const wait = headers.get("X-Queue-Wait");
  if (!position) return "";
  return `number ${position} of those who wait${wait ? `, about ${wait} s` : ""}`;
}

async function answer(fail, { thinking, thoughts, text, speed }) {
  stop = new AbortController();
  find("send").disabled = true;
  find("stop").hidden = false;
  let content = "";
  const began = performance.now();
  let first = null;
  try {
    const response = await call("/api/chat", { method: "POST", body: body(), signal: stop.signal });
    speed.textContent = placeOf(response.headers);
    for await (const piece of objects(response)) {
      const said = piece.message ?? {};
      if (said.thinking) {
        thinking.hidden = false;
        thoughts.append(said.thinking);
      }
      for (const made of said.tool_calls ?? []) {
        text.append(element("p", { className: "quiet" }, `calls ${made.function.name}(${JSON.stringify(made.function.arguments)})`));
      }
      if (said.content) {
        content += said.content;
        text.replaceChildren(markdown(content));
      }
      if (first === null && (said.content || said.thinking)) {
        first = performance.now() - began;
        speed.textContent = "";
      }
      if (piece.done) speed.textContent = speedOf(piece, first);
      follow();
    }
    speeds.unshift(speed.textContent);
    find("speeds").replaceChildren(...speeds.slice(0, 5).map((line) => element("li", {}, line)));
  } catch (error) {
    if (error.name === "AbortError") {
      speed.textContent = "stopped";
    } else {
      if (!content) text.replaceChildren();
      speed.textContent = error.message;
      speed.className = "bad";
      fail(error);
    }
  } finally {
    if (content) history.push({ role: "assistant", content });
    else if (history.at(-1)?.role === "user") history.pop(); // it would be sent twice
    stop = null;
    find("send").disabled = false;
    find("stop").hidden = true;
    find("question").focus();
    follow();
  }
}

function body() {
  const system = find("system").value.trim();
  const think = find("think").value;
  return {
    model: find("model").value,
    messages: [...(system ? [{ role: "system", content: system }] : []), ...history],
    ...(think ? { think: think === "on" } : {}),
  };
}

function speedOf(last, first) {
  const seconds = (last.eval_duration ?? 0) / 1e9;
  const rate = last.eval_count > 1 && seconds ? `, ${(last.eval_count / seconds).toFixed(1)} tokens/s` : "";
  const cut = last.done_reason === "length" ? ", cut at the limit" : "";
  return `${last.eval_count ?? 0} tokens${rate}, first text after ${((first ?? 0) / 1000).toFixed(1)} s${cut}`;
}

function follow() {
  const box = find("messages");
  if (box.scrollHeight - box.scrollTop - box.clientHeight < 160) box.scrollTop = box.scrollHeight;
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
