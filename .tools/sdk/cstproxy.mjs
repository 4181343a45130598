// A proxy in front of a simulated Portal, both of the binary that is built, and what the test asks of them.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const binary = process.env.CSTPROXY ?? "../../bin/cstproxy";
const lives = ["--idle-ttl", "20s", "--refresh-window", "10m"];

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

// run starts a command of the binary and waits until it says what pattern matches. Nobody's settings count but those of env.
async function run(args, env, pattern) {
  const child = spawn(binary, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "exit");
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => { said += chunk; });
  const close = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  try {
    const found = await until(`${args[0]} to start`, () => {
      if (child.exitCode !== null) throw new Error(`${args[0]} ended with ${child.exitCode}`);
      return said.match(pattern);
    });
    return { found, close };
  } catch (error) {
    await close();
    throw new Error(`${error.message}:\n${said}`);
  }
}

async function json(url, init) {
  const response = await fetch(url, init);
  return { status: response.status, body: await response.json() };
}

const post = (url, body) => json(url, { method: "POST", body: JSON.stringify(body) });

// Simulator is a simulated Portal.
class Simulator {
  static async start() {
    const args = ["simulate", "--listen", "127.0.0.1:0", "--any-client", "--rate-limit", "0", ...lives];
    const { found, close } = await run(args, {}, /PORTAL_API_URL=(\S+) PORTAL_API_KEY=(\S+)/);
    return Object.assign(new Simulator(), { url: found[1], key: found[2], close });
  }

  kill = (token) => post(`${this.url}/_sim/kill`, { token });
  stats = async () => (await json(`${this.url}/_sim/stats`)).body;
  activeAt = async (token) => Date.parse((await post(`${this.url}/_sim/accepts`, { token })).body.activeAt);
  async arrivals(operation) {
    return (await json(`${this.url}/_sim/arrivals?operation=${operation}`)).body.arrivals.length;
  }
}

// Cstproxy is a proxy that passes the Client and the Enclave MPC API through: the first for a backend that shows its key, both
// for devices that show a token of their own. Its callers file goes into directory.
export class Cstproxy {
  static async start(directory) {
    const made = execFileSync(binary, ["key", "new", "backend"], { env: {}, encoding: "utf8" });
    const callers = join(directory, "callers.yaml");
    writeFileSync(callers, made.replace(/routes: .*/, "routes: [token, inspect, client]"));
    const portal = await Simulator.start();
    const env = {
      PORTAL_API_URL: portal.url, PORTAL_MPC_URL: portal.url, PORTAL_API_KEY: portal.key,
      CSTPROXY_PASSTHROUGH: "client,enclave", CSTPROXY_CALLERS_FILE: callers, CSTPROXY_LISTEN: "127.0.0.1:0",
      CSTPROXY_ADMIN_LISTEN: "127.0.0.1:0", CSTPROXY_LOG_LEVEL: "info",
      CSTPROXY_REFRESH: "observe", // so that nothing moves a token's activity but what passes through
    };
    try {
      const { found, close } = await run(["serve", ...lives], env, /"msg":"serving".*"listen":"([^"]+)","admin_listen":"([^"]+)"/);
      const [key] = made.match(/cstp_\S+/);
      return Object.assign(new Cstproxy(), { portal, address: found[1], admin: found[2], key, stop: close });
    } catch (error) {
      await portal.close();
      throw error;
    }
  }

  get url() { return `http://${this.address}`; }
  get headers() { return { Authorization: `Bearer ${this.key}` }; }

  // host is what an SDK takes as its apiHost. It speaks HTTP without TLS to this name alone.
  get host() { return `localhost:${new URL(this.url).port}`; }

  token = async (client) => (await json(`${this.url}/v1/clients/${client}/token`, { headers: this.headers })).body;
  status = async (client) => (await json(`${this.url}/v1/clients/${client}`, { headers: this.headers })).body;

  // series returns the value of one, by its name and labels as /metrics has them.
  async series(name) {
    const text = await (await fetch(`http://${this.admin}/metrics`)).text();
    const line = text.split("\n").find((l) => l.startsWith(name + " "));
    if (line === undefined) throw new Error(`/metrics has no ${name}`);
    return Number(line.slice(name.length + 1));
  }

  passed = (family, mode, outcome) =>
    this.series(`cstproxy_passthrough_requests_total{family="${family}",mode="${mode}",outcome="${outcome}"}`);

  async close() {
    await this.stop();
    await this.portal.close();
  }
}
