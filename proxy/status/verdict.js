// Is it fine, and what is to be done if it is not?

const failing = ["unavailable", "timeout", "bad_response", "error"];

// verdicts are asked in this order; the first that holds is what is said. No numbers, so that it is said once.
const verdicts = [
  [(s) => sum(s, "portal_key_valid") === 0, "bad", "Portal refuses the Portal API Key.",
    "Live tokens are still handed out, but none can be minted. Put a key that Portal accepts where this proxy reads it; it is read again at once."],
  [(s) => sum(s, "expired_tokens_served_total") > 0, "bad", "An expired token was handed out.",
    "That must never happen. Check the clocks of this machine and of Redis, and report it."],
  [(s) => sum(s, "redis_up") === 0, "warn", "Redis does not answer.",
    "This replica works from its memory, and mints what it does not know. Look at Redis, and at the network to it."],
  [() => troubled(failing) > 0.5, "bad", "Portal fails.",
    "Live tokens are handed out all the same; clients without one get an error. Look at Portal’s status, and at the network to it."],
  [(s) => sum(s, "budget_paused_seconds") > 0 || gained("portal_requests_total", { outcome: "rate_limited" }) > 0, "warn", "Portal asks to slow down.",
    "Mints and refreshes wait; live tokens are handed out all the same. Should it last, who else uses this Portal API Key?"],
  [(s) => sum(s, "budget_waiting") > 0 || gained("token_errors_total", { code: "portal_rate_limited" }) > 0, "warn", "The request budget at Portal is spent.",
    "Mints wait for their turn. See below why so many are needed; CSTPROXY_MINT_RATE is the fleet’s limit."],
  [() => gained("requests_shed_total") > 0, "warn", "There is too much to do.",
    "Tokens in the cache are handed out, dearer requests are turned away. More replicas share the load."],
  [(s) => gained("token_errors_total") > 0.05 * gained("tokens_served_total") && gained("token_errors_total") > 3, "warn", "Many requests are answered with an error.",
    "See below which code, and the table of errors in the manual for what to do about it."],
  [() => troubled(failing) > 0, "warn", "Portal fails now and then.", "Requests to it are tried again, and tokens flow. Look at its status if it lasts."],
  [(s) => !sum(s, "tokens_served_total"), "good", "Ready. Nobody has asked for a token yet.", "Nothing to do."],
  [() => true, "good", "All is well: tokens flow.", "Nothing to do."],
];

// troubled is the share of the last minute's requests to Portal that came to one of the outcomes.
function troubled(outcomes) {
  const all = gained("portal_requests_total");
  return all ? outcomes.reduce((n, outcome) => n + gained("portal_requests_total", { outcome }), 0) / all : 0;
}

function judge(state, title, advice) {
  $("verdict").dataset.state = state;
  write($("verdict-title"), title);
  write($("advice"), advice);
  document.title = ({ good: "Fine", warn: "Look", bad: "Act" }[state] ?? "…") + " · cstproxy";
}
