// What a team would write itself: a handler that asks Redis for the document of a client. fastify and ioredis as their own
// documentation has them for speed: no logger, the answer a buffer with its type, so that nothing is parsed or serialized; and
// commands of one turn of the event loop sent together.
//
//   server.mjs HOST:PORT REDIS PREFIX WORKERS    prints its processes once it listens, as a line of JSON
import cluster from "node:cluster";
import fastify from "fastify";
import Redis from "ioredis";

const [listen, redisAddress, prefix, workers] = process.argv.slice(2);

async function serve() {
  const redis = new Redis(redisAddress, { enableAutoPipelining: true });
  const app = fastify({ logger: false, keepAliveTimeout: 600_000, connectionTimeout: 0, requestTimeout: 0 });
  app.get("/v1/clients/:client/token", async (request, reply) => {
    const found = await redis.getBuffer(prefix + request.params.client);
    if (found === null) return reply.code(404).type("application/json").send('{"error":"no such client"}');
    return reply.type("application/json").send(found);
  });
  await redis.ping();
  const [host, port] = listen.split(":");
  await app.listen({ host, port: Number(port) });
}

if (Number(workers) === 1) {
  await serve();
  console.log(JSON.stringify([process.pid]));
} else if (cluster.isPrimary) {
  const pids = [process.pid];
  cluster.on("exit", () => process.exit(1));
  cluster.on("listening", (worker) => {
    pids.push(worker.process.pid);
    if (pids.length === Number(workers) + 1) console.log(JSON.stringify(pids));
  });
  for (let i = 0; i < Number(workers); i++) cluster.fork();
} else {
  process.on("disconnect", () => process.exit());
  await serve();
}
