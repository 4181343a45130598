// The status page as a person meets it, in a real browser: node --test.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { startBrowser, startDemo, until } from "./demo.mjs";

const axe = await readFile(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const pace = 2000; // of the page
let browser, busy, swift, still;

before(async () => {
  // busy is the demo as it comes. In swift a week takes eight seconds. In still nothing happens but what a test does.
  [browser, busy, swift, still] = await Promise.all([
    startBrowser(), startDemo(), startDemo("--speed", "72000", "--users", "1"), startDemo("--speed", "1", "--users", "0"),
  ]);
});
after(() => Promise.all([browser, busy, swift, still].map((one) => one?.close())));

const shown = (page) => until("the page to be drawn", () => page.locator("#verdict:not([data-state=waiting])").count());
const lives = (page) => until("a life to be shown", () => page.locator("#life-state[data-state=live]").count());
const title = (page) => page.getByRole("heading", { level: 1 }).textContent();

// read returns a function that looks a series up in the text of /metrics, with another expression than the page's.
function read(text) {
  return (name) => {
    const line = text.split("\n").find((l) => l.startsWith(name + " "));
    return line === undefined ? undefined : Number(line.slice(name.length + 1).replace("+Inf", "Infinity"));
  };
}

const metricsOf = async (demo) => (await fetch(demo.admin + "/metrics")).text();

// next lets the page's next round come, and waits until it is over.
async function next(page) {
  const round = () => page.locator("body").getAttribute("data-round");
  const before = await until("a round to be over", round);
  await page.clock.runFor(pace);
  await until("another round", async () => (await round()) !== before);
}

describe("the status page", { concurrency: 3 }, () => {
  test("loads without a fault, and asks nobody but its own proxy", async () => {
    const page = await browser.open(busy.admin + "/");
    await shown(page);
    await lives(page);
    await until("another round", () => page.requests.filter((r) => r.url.endsWith("/metrics")).length > 1);
    assert.deepEqual(page.faults, []);
    for (const { url } of page.requests) assert.ok(url.startsWith(busy.admin + "/") || url.startsWith("data:"), `it asked for ${url}`);
    assert.match(busy.said(), new RegExp(`^Open ${busy.admin}/\n`));
    await page.close();
  });

  test("shows the values of /metrics", async () => {
    const demo = await startDemo("--speed", "1", "--users", "0");
    for (let i = 0; i < 5; i++) assert.equal(await demo.fetchToken("test-" + (i % 2)), 200);
    assert.equal(await demo.fetchToken("no!id"), 400);
    const page = await browser.open(demo.admin + "/");
    await shown(page);
    const value = async (list, name) => Number(await page.locator(`#${list} li[data-name="${name}"] data`).getAttribute("value"));
    const told = read(await metricsOf(demo)); // nobody asks meanwhile, so that it is equal
    const served = (source) => told(`cstproxy_tokens_served_total{source="${source}"}`);
    for (const source of ["cache", "refresh", "mint"]) assert.equal(await value("served", source), served(source), source);
    for (const reason of ["absent", "idle_expired", "window_closed", "rejected", "ahead"]) assert.equal(await value("mints", reason), told(`cstproxy_mints_total{reason="${reason}"}`), reason);
    assert.equal(await value("errors", "invalid_client_id"), told('cstproxy_token_errors_total{code="invalid_client_id"}'));
    assert.equal(served("cache"), 3);
    assert.equal(await page.locator("#ratio").textContent(), (100 * (1 - served("mint") / (served("cache") + served("refresh") + served("mint")))).toFixed(1));
    for (const kind of ["mint", "probe"]) {
      const left = told(`cstproxy_budget_left{class="${kind}"}`), limit = told(`cstproxy_budget_limit{class="${kind}"}`);
      assert.ok(limit > 0, "there is a budget");
      assert.equal(await page.locator(`#budget-${kind} .amount`).textContent(), `${Math.floor(left)} of ${limit} left`);
      assert.equal(await page.locator(`#budget-${kind} [role=meter]`).getAttribute("aria-valuenow"), String(Math.floor(left)));
    }
    assert.equal(told("cstproxy_portal_key_valid"), 1);
    assert.equal(await page.locator("#portal dd").first().textContent(), "accepted");
    assert.match(await page.locator("#redis").textContent(), /not used/);
    await page.close();
    await demo.close();
  });

  test("computes rates from what the counters gained, also when they began anew", async () => {
    let requests = 100, mints = 10;
    const page = await browser.open(still.admin + "/", {
      frozen: true,
      metrics: (route) => route.fulfill({ contentType: "text/plain", body: `cstproxy_http_request_duration_seconds_count{route="a",code="200"} ${requests}\n` +
        `cstproxy_tokens_served_total{source="cache"} ${requests - mints}\ncstproxy_tokens_served_total{source="mint"} ${mints}\n` }),
    });
    const says = async () => [await page.locator("#rate").textContent(), await page.locator("#ratio").textContent()];
    await shown(page);
    assert.deepEqual(await says(), ["–", "90.0"]);
    [requests, mints] = [120, 15];
    await next(page);
    await until("10 a second, a quarter of them mints", async () => (await says()).join() === "10.0,75.0");
    [requests, mints] = [40, 4]; // it was started anew
    await next(page);
    await until("60 in 4 seconds, 9 of them mints", async () => (await says()).join() === "15.0,85.0");
    assert.match(await page.locator("#rate-spark").getAttribute("aria-label"), /^Requests per second over the last 4 s: now 15.0, least 10.0, most 15.0$/);
    await page.close();
  });

  test("says in one sentence whether it is fine", async () => {
    const real = await metricsOf(still);
    let text = real;
    const page = await browser.open(still.admin + "/", { frozen: true, metrics: (route) => route.fulfill({ contentType: "text/plain", body: text }) });
    await shown(page);
    assert.equal(await title(page), "Ready. Nobody has asked for a token yet.");
    for (const [series, value, state, sentence] of [
      ["cstproxy_portal_key_valid", 0, "bad", "Portal refuses the Portal API Key."],
      ["cstproxy_expired_tokens_served_total", 1, "bad", "An expired token was handed out."],
      ["cstproxy_redis_up", 0, "warn", "Redis does not answer."],
      ['cstproxy_budget_paused_seconds{class="mint"}', 12, "warn", "Portal asks to slow down."],
      ['cstproxy_budget_waiting{class="mint"}', 3, "warn", "The request budget at Portal is spent."],
      ['cstproxy_tokens_served_total{source="cache"}', 9, "good", "All is well: tokens flow."],
      ['cstproxy_portal_requests_total{operation="mint",outcome="unavailable"}', 5, "bad", "Portal fails."],
    ]) {
      text = real.split("\n").filter((l) => !l.startsWith(series + " ")).concat(`${series} ${value}`).join("\n");
      await next(page);
      await until(sentence, async () => (await title(page)) === sentence);
      assert.equal(await page.locator("#verdict").getAttribute("data-state"), state);
      assert.notEqual(await page.locator("#advice").textContent(), "");
    }
    await page.close();
  });

  test("draws a life from its mint over slides to its end", async () => {
    const page = await browser.open(swift.admin + "/");
    await lives(page);
    const drawn = () => page.evaluate(() => {
      const left = (id) => Number.parseFloat(document.getElementById(id).style.left);
      return {
        now: document.getElementById("lifeline").dataset.now, minted: document.getElementById("track").dataset.minted,
        needle: left("x-needle"), idle: left("x-idle"), use: left("x-use"), events: document.getElementById("events").textContent,
      };
    });
    const first = await drawn();
    assert.match(await page.locator("#track").getAttribute("aria-label"), /to its 7-day wall\. Minted .* Idle deadline .* Now /);
    const later = await until("a slide", async () => {
      const d = await drawn();
      return /extended by use/.test(d.events) && d.now > first.now && d;
    });
    assert.ok(later.minted > first.minted || later.needle > first.needle, "the needle moves on");
    assert.ok(later.idle > later.use, "the idle deadline is after the last use");
    const events = () => page.locator("#events").textContent();
    await until("its end", async () => /went idle|reached its wall/.test(await events()), 30000);
    for (const { url, method, body } of page.requests.filter((r) => r.url.endsWith("/lifeline"))) {
      assert.deepEqual([method, url, body], ["POST", swift.admin + "/lifeline", '{"clientId":"demo-daily-01"}']);
    }
    assert.deepEqual(page.faults, []);
    await page.close();
  });

  test("says of an id that it is none, and of a client that it has no token", async () => {
    const page = await browser.open(still.admin + "/");
    await shown(page);
    await page.getByLabel("Client id").fill("no!id");
    await page.getByRole("button", { name: "Watch" }).click();
    await until("a complaint", async () => /client id.*character 3/i.test(await page.getByRole("alert").textContent()));
    assert.equal(await page.getByLabel("Client id").getAttribute("aria-invalid"), "true");
    assert.ok(await page.locator("#lifeline").isHidden());
    await page.getByLabel("Client id").fill("nobody");
    await page.getByRole("button", { name: "Watch" }).click();
    await until("an answer", async () => (await page.locator("#life-state").textContent()) === "none cached");
    assert.equal(await page.getByRole("alert").textContent(), "");
    assert.match(await page.locator("#life-next").textContent(), /mints: no token is cached/);
    assert.equal(read(await metricsOf(still))('cstproxy_mints_total{reason="absent"}'), 0, "to look mints nothing");
    await page.close();
  });

  test("is used by keyboard alone", async () => {
    const page = await browser.open(still.admin + "/");
    await shown(page);
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className || document.activeElement.getAttribute("href"));
    const stops = [];
    for (let i = 0; i < 5; i++) {
      await page.keyboard.press("Tab");
      stops.push(await focused());
    }
    assert.deepEqual(stops, ["skip", "client", "go", "stop", "/metrics"]);
    await page.locator(".skip").focus();
    await page.keyboard.press("Enter");
    assert.equal(await focused(), "client");
    await page.keyboard.press("Control+A");
    await page.keyboard.type("typed-in");
    await page.keyboard.press("Enter");
    await until("what was typed to be asked for", () => page.requests.some((r) => r.body === '{"clientId":"typed-in"}'));
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "stop");
    await page.keyboard.press("Space");
    assert.ok(await page.locator("#lifeline").isHidden());
    assert.equal(await focused(), "client", "the focus is not lost");
    await page.close();
  });

  for (const colorScheme of ["light", "dark"]) {
    test(`is read and heard, ${colorScheme}, on a screen and on a phone`, async () => {
      const page = await browser.open(busy.admin + "/", { colorScheme });
      await shown(page);
      await lives(page);
      for (const [width, height] of [[1280, 900], [360, 740]]) {
        await page.setViewportSize({ width, height });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(wide, 0, `at ${width} px it is ${wide} px too wide`);
        await page.evaluate(axe); // by the debugger, to which the page's policy does not apply
        const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document, {
          resultTypes: ["violations", "passes"], runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"],
        }));
        assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html + n.failureSummary).join("; ")}`), []);
        assert.ok(passes.some((p) => p.id === "color-contrast" && p.nodes.length > 20), "the contrast was measured");
      }
      await page.close();
    });
  }

  test("has a name for every control and chart", async () => {
    const page = await browser.open(busy.admin + "/");
    await lives(page);
    const session = await page.context().newCDPSession(page);
    const { nodes } = await session.send("Accessibility.getFullAXTree");
    const names = (role) => nodes.filter((n) => !n.ignored && n.role?.value === role).map((n) => n.name?.value ?? "");
    assert.deepEqual(names("textbox"), ["Client id"]);
    assert.deepEqual(names("button"), ["Watch", "Stop"]);
    assert.deepEqual(names("meter"), ["Mints left in this minute", "Refreshes left in this minute"]);
    assert.equal(names("image").length, 4, names("image").join("; ")); // two sparklines, the time line, the bar of sources
    for (const role of ["image", "link", "region"]) assert.ok(names(role).every((name) => name !== ""), `a ${role} without a name`);
    assert.equal(names("region").length, 9);
    for (const landmark of ["banner", "main", "contentinfo", "status"]) assert.equal(names(landmark).length, 1, landmark);
    await page.close();
  });

  test("asks nothing while nobody sees it", async () => {
    const page = await browser.open(still.admin + "/", { frozen: true });
    await next(page);
    const hide = (hidden) => page.evaluate((h) => {
      Object.defineProperty(document, "hidden", { value: h, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
    await hide(true);
    const asked = page.requests.length;
    await page.clock.runFor(60 * pace);
    assert.equal(page.requests.length, asked);
    await hide(false);
    await until("it to ask again", () => page.requests.length > asked);
    await page.close();
  });

  test("says so when the proxy is gone", async () => {
    const mortal = await startDemo("--users", "0");
    const page = await browser.open(mortal.admin + "/");
    await shown(page);
    await mortal.close();
    await until("it to say so", async () => (await title(page)) === "This page has lost the proxy.");
    assert.match(await page.locator("#advice").textContent(), /as of \d\d:\d\d:\d\d/);
    assert.equal(await page.locator("body.stale").count(), 1);
    await page.close();
  });
});
