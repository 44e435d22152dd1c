// The page: keeps up with the state of the service, and sends what the buttons ask for.

import { setUpChat } from "./chat.js";
import { ago, element, find, size } from "./dom.js";
import { call, lines, objects, setKey } from "./net.js";

const SAMPLES = 300; // of a second each
const PLOTS = [
  ["Card °C", (health) => health.device.temperature_c],
  ["Card memory MiB", (health) => health.device.cmm_used_mb],
  ["NPU %", (health) => health.device.npu_percent],
  ["Host °C", (health) => health.host.temperature_c],
  ["Host memory MiB", (health) => health.host.memory_used_mb],
  ["Waiting requests", (health) => health.queue.waiting],
];
const samples = PLOTS.map(() => []);
let drawn = "";

function fail(error) {
  if (error.status === 401 || (error.status === 403 && /key/.test(error.message))) askForKey(error.message);
  find("notice").textContent = error.message;
  find("notice").hidden = false;
}

function askForKey(problem) {
  const dialog = find("key-dialog");
  if (dialog.open) return;
  find("key-problem").textContent = sessionStorage.length ? problem : "It is kept for this tab only.";
  dialog.showModal();
}

async function attempt(what) {
  try {
    await what();
    find("notice").hidden = true;
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  }
}

// The state.

async function watch() {
  let pause = 1000;
  for (;;) {
    try {
      const response = await call("/ui/events");
      find("notice").hidden = true;
      for await (const line of lines(response)) {
        if (line.startsWith("data: ")) {
          pause = 1000;
          show(JSON.parse(line.slice(6)));
        }
      }
    } catch (error) {
      if (error.status === 401) {
        askForKey(error.message);
        await new Promise((resolve) => find("key-dialog").addEventListener("close", resolve, { once: true }));
        continue;
      }
      find("status").textContent = `no connection (${error.message}); it is tried again`;
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(pause * 2, 15000);
    }
  }
}

function show(state) {
  const { health } = state;
  const kind = health.backend_type === "mock" ? " · a SIMULATOR answers" : "";
  const percent = health.runtime.load_percent;
  const loading = percent !== null && health.runtime.state === "starting" ? ` ${percent} %` : "";
  find("status").textContent = state.problem ?? `${health.status}${loading} · ${health.model || "no model"}${kind}`;
  showPrograms(health);
  showChecks(health.preflight);
  PLOTS.forEach(([, read], at) => {
    samples[at].push(read(health));
    if (samples[at].length > SAMPLES) samples[at].shift();
  });
  showPlots();
  find("restart").disabled = !state.operator;
  const models = JSON.stringify([state.models, state.loaded, state.operator]);
  if (models !== drawn) {
    drawn = models;
    showModels(state);
  }
}

function showPrograms(health) {
  const rows = [];
  const add = (name, text) => rows.push(element("dt", {}, name), element("dd", {}, text));
  for (const name of ["runtime", "tokenizer"]) {
    const program = health[name];
    if (!program) continue;
    const bar = name === "runtime" && program.state === "starting" && program.load_percent !== null;
    const parts = [`${program.state} for ${ago(Date.now() / 1000 - program.since)}`];
    if (program.restarts) parts.push(`${program.restarts} restarts`);
    if (program.last_exit) parts.push(`last exit: ${program.last_exit}`);
    if (program.note) parts.push(program.note);
    add(name, parts.join(", "));
    if (bar) rows.push(element("dt"), element("dd", {}, element("progress", { max: 100, value: program.load_percent, ariaLabel: "load" })));
  }
  add("queue", `${health.queue.answering ? "an answer is running" : "idle"}, ${health.queue.waiting} of ${health.queue.places} places taken${nextPlace(health.queue)}`);
  if (health.kv_cache) add("KV cache", `${health.kv_cache.hits} of ${health.kv_cache.hits + health.kv_cache.misses} prompts went on from it`);
  if (health.switching_to) add("switching to", health.switching_to);
  add("version", health.version);
  find("programs").replaceChildren(...rows);
}

function nextPlace(queue) {
  if (!queue.next_position) return "";
  const wait = queue.expected_wait_s === null ? "" : `, in about ${Math.ceil(queue.expected_wait_s)} s`;
  return `; a new request would be number ${queue.next_position}${wait}`;
}

function showChecks(checks) {
  const found = checks.filter((check) => check.verdict === "warn" || check.verdict === "fail");
  const rows = found.map((check) => {
    const row = element("li", { className: check.verdict === "fail" ? "bad" : "warn" }, `${check.verdict}: ${check.name} ${check.seen}`);
    if (check.remedy) row.append(element("br"), element("code", {}, check.remedy));
    return row;
  });
  find("checks").replaceChildren(...(rows.length ? rows : [element("li", { className: "quiet" }, "nothing to report")]));
}

const SVG = "http://www.w3.org/2000/svg";

function showPlots() {
  find("plots").replaceChildren(
    ...PLOTS.flatMap(([name], at) => {
      const values = samples[at].filter((value) => value !== null);
      if (!values.length) return [];
      const low = Math.min(0, ...values);
      const high = Math.max(...values, low + 1);
      const points = values.map((value, x) => `${x},${30 - (30 * (value - low)) / (high - low)}`).join(" ");
      const svg = document.createElementNS(SVG, "svg");
      svg.setAttribute("viewBox", `0 -1 ${Math.max(1, values.length - 1)} 32`);
      svg.setAttribute("preserveAspectRatio", "none");
      svg.setAttribute("aria-hidden", "true");
      const line = document.createElementNS(SVG, "polyline");
      line.setAttribute("points", points);
      svg.append(line);
      return [element("figure", {}, svg, element("figcaption", {}, `${name}: ${Math.round(values.at(-1))}`))];
    }),
  );
}

// The models.

function showModels({ models, loaded, operator }) {
  const select = find("model");
  const chosen = select.value;
  const able = models.filter((model) => model.capabilities.includes("completion"));
  select.replaceChildren(...able.map((model) => element("option", { value: model.name }, model.name)));
  const preferred = [chosen, loaded[0]].find((name) => able.some((model) => model.name === name));
  if (preferred) select.value = preferred;
  find("model-rows").replaceChildren(...models.map((model) => row(model, loaded.includes(model.name), operator)));
  const sees = () => models.find((model) => model.name === select.value)?.capabilities.includes("vision") ?? false;
  select.onchange = () => {
    find("picture").hidden = find("picture-label").hidden = !sees();
  };
  select.onchange();
}

function row(model, onCard) {
  const name = model.name;
  const act = (text, what) => {
    const button = element("button", { type: "button", ariaLabel: `${text} ${name}` }, text);
    button.addEventListener("click", () => attempt(what));
    return button;
  };
  const load = (keep_alive) => call("/api/generate", { method: "POST", body: { model: name, ...keep_alive } });
  const remove = async () => {
    if (confirm(`Delete ${name}?`)) await call("/api/delete", { method: "DELETE", body: { model: name } });
  };
  return element(
    "tr",
    {},
    element("td", {}, name),
    element("td", {}, model.size ? size(model.size) : "–"),
    element("td", {}, onCard ? "on the card" : ""),
    element("td", {}, onCard ? act("Unload", () => load({ keep_alive: 0 })) : act("Load", () => load({})), act("Delete", remove)),
  );
}

let pulling = null;

async function pull(name) {
  pulling = new AbortController();
  find("pull-state").hidden = find("pull-stop").hidden = false;
  try {
    const response = await call("/api/pull", { method: "POST", body: { model: name }, signal: pulling.signal });
    for await (const step of objects(response)) {
      const part = step.total ? ` ${size(step.completed ?? 0)} of ${size(step.total)}` : "";
      find("pull-text").textContent = step.status.replace(/^pulling [0-9a-f]{12}$/, "downloading") + part;
      if (step.total) find("pull-bar").value = (step.completed ?? 0) / step.total;
    }
  } catch (error) {
    find("pull-text").textContent = error.name === "AbortError" ? "stopped; pull again to go on" : error.message;
  } finally {
    pulling = null;
    find("pull-stop").hidden = true;
  }
}

find("pull").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!pulling) pull(find("pull-name").value.trim());
});
find("pull-stop").addEventListener("click", () => pulling?.abort());
find("restart").addEventListener("click", () => attempt(() => call("/restart", { method: "POST" })));
find("key-form").addEventListener("submit", () => setKey(find("key").value.trim()));
setUpChat(fail);
watch();
