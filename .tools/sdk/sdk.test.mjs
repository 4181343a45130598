// Portal's SDK as a device has it, and a backend's axios, through the proxy: node --test.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import axios from "axios";
import { Cstproxy, until } from "./cstproxy.mjs";
import sdk from "./sdk.cjs";

const directory = mkdtempSync(join(tmpdir(), "cstproxy-sdk-"));
let proxy;
before(async () => { proxy = await Cstproxy.start(directory); });
after(async () => {
  await proxy?.close();
  rmSync(directory, { recursive: true });
});

describe("an SDK whose apiHost is the proxy", () => {
  // device returns the SDK of a device that was given token.
  const device = (token) => new sdk.Portal({
    apiKey: token, apiHost: proxy.host, enclaveMPCHost: `${proxy.host}/enclave`,
    backup: {}, featureFlags: { useEnclaveMPCApi: true },
  });
  const fails = (promise) => promise.then(() => assert.fail("it did not fail"), (error) => error);

  // The SDK also tells Portal's analytics what it does, and waits for none of it: of a device that starts in two requests, of
  // each client that it read in one. allPassed waits until all of these were passed as well, and nothing else was.
  let due = 0;
  async function read({ api }) {
    const client = await api.getClient();
    due += 2;
    return client;
  }
  function start(token) {
    due += 2;
    return device(token);
  }
  const allPassed = () => until(`${due} requests to be passed`, async () => await proxy.passed("client", "observe", "ok") === due);

  test("with a token that the proxy does not know gets 403, and Portal hears nothing", async () => {
    const { requests } = await proxy.portal.stats();
    const error = await fails(device("a-token-of-nobody").api.getClient());
    assert.equal(error.status, 403);
    assert.equal(JSON.parse(error.message.slice(error.message.indexOf("{"))).code, "token_unknown");
    await until("its analytics to be refused as well", async () => await proxy.passed("client", "observe", "refused") === 2);
    assert.equal((await proxy.portal.stats()).requests, requests);
  });

  test("reads its client, and that counts as activity", async () => {
    const { clientSessionToken: token, mintedAt } = await proxy.token("reader");
    const reader = start(token);
    // Activity is written once in a tenth of the idle time, so that of a request right after the mint is not.
    const { activeAt } = await until("activity to be recorded", async () => {
      assert.equal((await read(reader)).id, "reader");
      const status = await proxy.status("reader");
      return status.activeAt > mintedAt && status;
    });
    assert.ok(Date.parse(activeAt) <= await proxy.portal.activeAt(token), "it is later than Portal's own");
    await allPassed();
    assert.equal(await proxy.portal.arrivals("probe") + await proxy.portal.arrivals("track"), due);
    assert.equal((await proxy.portal.stats()).mintsByClient.reader, 1);
  });

  test("reaches the Enclave MPC API by a host with a path", async () => {
    const { clientSessionToken: token } = await proxy.token("signer");
    const shares = await start(token).api.generatePreGeneratedShares("{}");
    assert.equal(shares.clientId, "signer");
    assert.equal(shares.path, "/v1/generate");
    await allPassed();
    await until("it to be counted", async () => await proxy.passed("enclave", "observe", "ok") === 1);
  });

  test("meets Portal's own 401, and the proxy forgets that token alone", async () => {
    const { clientSessionToken: token } = await proxy.token("ended");
    const { tokenId } = await proxy.token("another");
    const ended = start(token);
    await read(ended);
    await allPassed();
    await proxy.portal.kill(token);
    const error = await fails(read(ended));
    assert.equal(error.status, 401);
    // The simulated Portal has three bodies for it. None has a code, as the proxy's own have.
    assert.match(error.message, /^401 - [^:]*: (\{\}|\{"error":"Unauthorized"\}|"Unauthorized")$/);
    // In less than its idle time, at whose end it would be absent anyhow.
    await until("the token to be forgotten", async () => (await proxy.status("ended")).state === "absent", 5000);
    assert.equal((await proxy.status("another")).tokenId, tokenId);

    // What an app does then: it asks its backend for a token.
    const fresh = await proxy.token("ended");
    assert.equal((await read(start(fresh.clientSessionToken))).id, "ended");
    await allPassed();
  });
});

describe("a backend's axios", () => {
  const clientId = "named";
  let portal;
  before(() => { portal = axios.create({ baseURL: proxy.url, headers: proxy.headers }); });
  const me = () => portal.get("/api/v3/clients/me", { headers: { "X-Portal-Client-Id": clientId } });
  const mints = async () => (await proxy.portal.stats()).mintsByClient[clientId];

  test("names the client, and never sees a token", async () => {
    const { status, data, headers } = await me();
    assert.equal(status, 200);
    assert.equal(data.id, clientId);
    const { clientSessionToken: token } = await proxy.token(clientId);
    assert.ok(!JSON.stringify([data, headers]).includes(token));
    assert.equal(await mints(), 1);
  });

  test("does not notice that the token died", async () => {
    const { clientSessionToken: token } = await proxy.token(clientId);
    await proxy.portal.kill(token);
    const { status, data } = await me();
    assert.equal(status, 200);
    assert.equal(data.id, clientId);
    assert.equal(await mints(), 2);
    assert.equal(await proxy.series('cstproxy_passthrough_retries_total{family="client"}'), 1);
  });
});
