// Package portaltest is a simulated Portal: the part of Portal's REST APIs that
// concerns Client Session Tokens (CSTs), on an http.Handler that needs neither
// a network nor a clock of its own. Tests, demonstrations and load runs put it
// where https://api.portalhq.io and https://mpc-client.portalhq.io would be.
//
// It holds to Portal's documentation where that speaks: a CST dies after 24 h
// without an authenticated request, every such request moves its expiry, and no
// refresh reaches beyond 7 days. Where the documentation is silent, [Behavior]
// has a switch for each reading, so that callers can be proven right under all
// of them. Where Portal can fail, [Fault] makes it fail.
//
// Invariants:
//   - What [Portal.Accepts] says is what the next authenticated request meets:
//     both come from the same rule under the same lock.
//   - Only work makes clients and tokens. A request answered by a status, reset
//     or redirect fault made none; one whose answer is lost or spoilt has done
//     its work.
//   - The Client API Key is handed out, as Portal does, but opens nothing here,
//     so that whoever takes it for a CST is found out.
//   - Clients and tokens are kept until the process ends, but for killed
//     tokens.
//
// # What calls with a token are told
//
// Calls to the Clients API and the Enclave MPC API are taken at every path of
// theirs. But for a probe and for what an SDK tracks they are told what came, as
// {"clientId":"…","method":"…","path":"…","query":"…","bodyBytes":n}; at the
// Clients API one with the header X-Simulated-Status: 418 is answered with that
// status. X-Portal-Trace-Id comes back as it came. A body may have 32 MiB.
//
// # Control routes
//
// What a test does through methods another process does over HTTP. Control
// routes need no key, meet no fault and no rate limit, and are not counted.
// They take and give JSON and answer 200, or 400 with {"error":"…"} that names
// the unknown or ill-typed field.
//
//	GET    /_sim/stats                     Stats
//	DELETE /_sim/stats                     forgets the counters and the arrivals
//	GET    /_sim/arrivals?operation=mint   {"arrivals":["2026-11-22T05:19:55Z",…]}; without operation: all
//	POST   /_sim/accepts   {"token":"…"}   {"accepts":true,"expiresAt":"…","activeAt":"…"}; no times for an unknown token
//	POST   /_sim/kill      {"token":"…"}   the token is dead from now on
//	POST   /_sim/kill      {"clientId":"…"} so are all tokens of the client
//	POST   /_sim/clients   {"id":"…"}      makes a client known under an id of one's choice
//	GET    /_sim/behavior                  Behavior
//	PUT    /_sim/behavior  {…}             replaces what is named, keeps the rest, answers like GET
//
// Faults are named by operation (register, mint, read, list, manage, probe,
// track, use, enclave or all); null clears:
//
//	{"mintKillsOlder":true,"rateLimit":200,"retryAfter":"seconds"}
//	{"faults":{"mint":{"kind":"status","status":503,"times":3},"probe":{"latency":"250ms"}}}
//	{"faults":{"mint":null}}
//	{"faults":null}
package portaltest
