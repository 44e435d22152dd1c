// node page.mjs http://127.0.0.1:5002 chat    opens /ui in Chromium; prints what came of it as JSON
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [host, scenario] = process.argv.slice(2);
const key = process.env.UI_KEY;
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const problems = [];

async function open(path = "/ui", options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && !/401|404|403/.test(message.text()) && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => /^(data|blob):/.test(request.url()) || request.url().startsWith(host) || problems.push(request.url()));
  await page.goto(host + path);
  return page;
}

const ready = (page) => page.waitForSelector("#model option", { state: "attached" });
const text = (page, selector) => page.textContent(selector);
const ask = async (page, question) => {
  await page.fill("#question", question);
  await page.press("#question", "Enter");
};
const answered = (page) => page.waitForFunction(() => /tokens/.test([...document.querySelectorAll(".speed")].at(-1)?.textContent ?? ""));

const scenarios = {
  async chat() {
    const page = await open("/");
    await ready(page);
    await ask(page, "Say **bold** <img src=x onerror=document.title='owned'>");
    await answered(page);
    const answer = page.locator(".message:not(.user)").last();
    return {
      url: page.url(),
      strong: await answer.locator("strong").first().textContent(),
      images: await answer.locator("img").count(),
      title: await page.title(),
      thinking: await answer.locator("details.thinking").isVisible(),
      speed: await answer.locator(".speed").textContent(),
      status: await text(page, "#status"),
    };
  },

  async stop() {
    const page = await open();
    await ready(page);
    await ask(page, "A long question. ".repeat(40));
    await page.waitForFunction(() => document.querySelector(".thinking div")?.textContent.length > 10);
    await page.click("#stop");
    await page.waitForFunction(() => [...document.querySelectorAll(".speed")].at(-1)?.textContent === "stopped");
    await ask(page, "And now?");
    await answered(page);
    return { last: await page.locator(".message:not(.user)").last().textContent() };
  },

  async switch() {
    const page = await open();
    await ready(page);
    const state = (name, wanted) =>
      page.waitForFunction(
        ([name, wanted]) => [...document.querySelectorAll("#model-rows tr")].find((row) => row.cells[0].textContent === name)?.cells[2].textContent === wanted,
        [name, wanted],
      );
    await page.click('button[aria-label="Load large:latest"]');
    await state("large:latest", "on the card");
    await state("small:latest", "");
    await page.click('button[aria-label="Unload large:latest"]');
    await state("large:latest", "");
    return { models: await page.locator("#model-rows tr").count() };
  },

  async pull() {
    const page = await open();
    await ready(page);
    await page.fill("#pull-name", "llama3");
    await page.press("#pull-name", "Enter");
    await page.waitForFunction(() => /not a model/.test(document.querySelector("#pull-text").textContent));
    await page.fill("#pull-name", "small");
    await page.press("#pull-name", "Enter");
    await page.waitForFunction(() => document.querySelector("#pull-text").textContent === "success");
    return { bar: await page.evaluate(() => document.querySelector("#pull-bar").value) };
  },

  async crash() {
    const page = await open();
    await ready(page);
    await page.click("#restart");
    await page.waitForFunction(() => !/^ok/.test(document.querySelector("#status").textContent));
    await page.waitForFunction(() => /^ok/.test(document.querySelector("#status").textContent));
    return { back: true };
  },

  async key() {
    const page = await open();
    await page.waitForSelector("#key-dialog[open]");
    await page.fill("#key", "wrong");
    await page.press("#key", "Enter");
    await page.waitForFunction(() => /missing or wrong/.test(document.querySelector("#key-problem").textContent));
    await page.fill("#key", key);
    await page.press("#key", "Enter");
    await ready(page);
    const stored = await page.evaluate(() => [sessionStorage.length, localStorage.length, document.cookie]);
    return { stored };
  },

  async keyboard() {
    const page = await open("/ui", { viewport: { width: 360, height: 700 } });
    await ready(page);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter"); // the link that skips to the chat
    await page.waitForFunction(() => location.hash === "#question");
    await page.keyboard.press("Tab");
    await page.focus("#question");
    await page.keyboard.type("Hello");
    await page.keyboard.press("Enter");
    await answered(page);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    return { wide, focused: await page.evaluate(() => document.activeElement.id) };
  },

  async accessible() {
    const found = [];
    for (const colorScheme of ["light", "dark"]) {
      const page = await open("/ui", { colorScheme, bypassCSP: true });
      await ready(page);
      await page.evaluate(readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
      found.push(...(await page.evaluate(async () => (await window.axe.run()).violations.map((each) => `${each.impact} ${each.id}`))));
    }
    return { found };
  },
};

try {
  const result = await scenarios[scenario]();
  console.log(JSON.stringify({ ...result, problems }));
} finally {
  await browser.close();
}
