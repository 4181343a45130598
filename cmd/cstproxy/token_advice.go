package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
)

// toldProblem is what the commands read of a problem document.
type toldProblem struct {
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	RequestID string `json:"requestId"`
}

// advice :: code of a problem → what to do about it.
var advice = map[string]string{ //nolint:gosec // words about keys, and none of them
	"invalid_client_id":      "use the id that Portal gave the client",
	"invalid_request":        "mend what the message names",
	"caller_unauthenticated": "set CSTPROXY_CALLER_KEY_FILE, or CSTPROXY_CALLER_KEY, to a key of a caller in the proxy's callers file; cstproxy key new NAME makes one",
	"caller_forbidden":       "let the caller's routes and clients in the callers file include this; without such a file ask on the proxy's own machine",
	"caller_rate_limited":    "wait, or raise this caller's rate in the callers file",
	"client_not_found":       "check the id, and that the Portal API Key is of the environment that the client is in",
	"token_mismatch":         "cstproxy token status says which token is cached",
	"body_too_large":         "send less",
	"token_unknown":          "cstproxy token get has the token that is cached now",
	"token_rejected":         "send it again: it goes with another token",
	"upgrade_unsupported":    "connect to Portal itself: WebSocket is not passed on",
	"portal_rate_limited":    "wait; cstproxy stats shows the budget and who mints",
	"portal_timeout":         "try again; cstproxy stats shows how long Portal takes",
	"portal_unauthorized":    "put the right Portal API Key into the proxy's PORTAL_API_KEY_FILE: it is read again at once",
	"portal_bad_response":    "look into the proxy's log for the request id; is PORTAL_API_URL Portal's?",
	"portal_unavailable":     "try again; cstproxy check, run as the proxy is, reaches for Portal's host",
	"store_unavailable":      "look after Redis: cstproxy check, run as the proxy is, reaches for it",
	"overloaded":             "wait, or ask another replica; cstproxy stats shows what there is too much of",
	"audit_unavailable":      "make room for the audit, or mend where CSTPROXY_AUDIT points to",
	"shutting_down":          "ask another replica, or again once this one is back",
	"route_not_found":        "is this the data API's address, and a proxy of this version?",
	"method_not_allowed":     "is this a proxy of this version?",
	"internal":               "look into the proxy's log for the request id, and report it",
}

// refusal is what an answer that is no success means, and what to do about it.
func (q inquiry) refusal(got reply) error {
	var told toldProblem
	if json.Unmarshal(got.body, &told) != nil || told.Code == "" {
		return q.stranger(got)
	}
	what := cmp.Or(advice[told.Code], "see the README of the proxy's version")
	if told.Code == "caller_unauthenticated" && !q.key.IsZero() {
		what = "the key that was sent is no caller's: send one of this proxy's callers file (" + callerKey + ", " + callerKeyFile + ")"
	}
	if after := got.header.Get("Retry-After"); after != "" {
		what = what + " (the proxy asks for " + after + " s)"
	}
	if told.RequestID != "" {
		told.Detail += " (request " + told.RequestID + ")"
	}
	return fmt.Errorf("%s: %s\nwhat to do: %s", told.Code, told.Detail, what)
}

// stranger is an answer that no cstproxy gives.
func (q inquiry) stranger(got reply) error {
	hint := "is " + dataListen + " that of the proxy?"
	if got.status == http.StatusBadRequest && q.api.scheme == "http" {
		hint = "does it speak TLS? Then set " + dataCertFile + " as it is set for the proxy"
	}
	return fmt.Errorf("%s answered with status %d, and not as cstproxy does\nwhat to do: %s", q.api.at, got.status, hint)
}

// unreachable is that there was no answer.
func (q inquiry) unreachable(err error) error {
	return fmt.Errorf("no answer from %s: %w\nwhat to do: is the proxy running? %s, or --%s, says where it listens", q.api.at, err, dataListen, flagName(dataListen))
}

func trimmed(body []byte) []byte { return bytes.TrimSpace(body) }
