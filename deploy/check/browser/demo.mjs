// What the tests and the screenshots share: a demo of the proxy, and a browser to look at it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { get } from "node:http";
import { createServer } from "node:net";
import { chromium } from "playwright-core";

export const binary = process.env.CSTPROXY ?? "../../../bin/cstproxy";

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

// until asks again and again until ask returns something that is true, or throws what was awaited.
export async function until(what, ask, patience = 20000) {
  const end = Date.now() + patience;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${patience} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// ask is a GET as a backend sends it: node's own fetch adds a header by which it seems to be a browser.
async function ask(url) {
  const [response] = await once(get(url), "response");
  response.resume();
  await once(response, "end");
  return response.statusCode;
}

// startDemo starts a proxy; arguments go to the command. The environment is empty, so that nobody's settings count.
export async function startDemo(...args) {
  const [data, admin] = [await freePort(), await freePort()];
  const child = spawn(binary, ["demo", "--listen", `127.0.0.1:${data}`, "--admin-listen", `127.0.0.1:${admin}`, ...args],
    { env: {}, stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk) => { said += chunk; });
  const ended = once(child, "exit");
  const demo = {
    data: `http://127.0.0.1:${data}`, admin: `http://127.0.0.1:${admin}`, said: () => said,
    fetchToken: (client) => ask(`${demo.data}/v1/clients/${client}/token`),
    async close() {
      child.kill("SIGTERM");
      await ended;
    },
  };
  await until("the proxy to be ready", () => fetch(demo.admin + "/readyz").then((r) => r.ok, () => false));
  return demo;
}

// startBrowser returns a browser that talks to nobody of its own accord.
export async function startBrowser() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, chromiumSandbox: false,
    args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  return {
    // open opens a page in a context of its own, since pages of one share their clock, and notes what goes wrong in it.
    // metrics may answer in the place of the proxy.
    async open(url, { width = 1280, height = 900, colorScheme = "light", metrics, frozen } = {}) {
      const context = await browser.newContext({ viewport: { width, height }, colorScheme, reducedMotion: "reduce" });
      const page = await context.newPage();
      if (frozen) { // its time passes when the test says
        await page.clock.install({ time: "2026-11-22T05:00:00Z" });
        await page.clock.pauseAt("2026-11-22T05:19:55Z");
      }
      if (metrics) await page.route("**/metrics", metrics);
      const faults = [], requests = [];
      page.on("console", (message) => { if (["error", "warning"].includes(message.type())) faults.push(message.text()); });
      page.on("pageerror", (error) => faults.push(String(error)));
      page.on("requestfailed", (request) => faults.push(`${request.url()}: ${request.failure()?.errorText}`));
      page.on("response", (response) => { if (response.status() >= 400) faults.push(`${response.url()}: ${response.status()}`); });
      page.on("request", (request) => requests.push({ method: request.method(), url: request.url(), body: request.postData() }));
      await page.goto(url);
      return Object.assign(page, { faults, requests });
    },
    close: () => browser.close(),
  };
}
