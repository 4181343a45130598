// Package session keeps one live Client Session Token (CST) per client of Portal's wallet API, and has Portal mint
// another only when the one it keeps can no longer be refreshed. It knows no HTTP, no Redis and no metrics: those are
// adapters behind the ports that [Broker] names.
//
// A token dies after IdleTTL without use, or RefreshWindow after its mint, whichever comes first ([Lifetime]).
// [Lifetime.Decide] says what a fetch does with the token it finds: serve it, refresh it, or mint. It is pure. The
// [Broker] carries the decision out: look up, decide, and, where Portal must be asked, do so once for all callers of
// the same client (a flight). Read lifetime.go first, then broker.go.
//
// What holds, always:
//
//  1. A token is handed out only while it is live: before its expiry less the margin, by dates taken before the
//     requests that set them were sent.
//  2. A token is handed out only to who asked for its client.
//  3. Portal mints for one of four reasons: absent, idle_expired, window_closed, rejected. Only where it is asked to
//     (MintAhead) it does so for a fifth, ahead: in the background, for a fetch that is served meanwhile.
//  4. ActiveAt moves forward only, and only for a request that Portal is known to have accepted (or, if so configured,
//     is assumed to have).
//  5. A token is forgotten by its id: never a newer one in its place.
//  6. One flight per client, process and purpose: to mint, or to refresh. It belongs to the Broker, not to the caller that
//     started it, has its own deadline, and looks into the store again before it asks Portal.
//  7. A live token is served whatever the store or Portal does, unless the caller's explicit need can't be met.
//  8. A secret leaves through Secret.Reveal alone.
//  9. A token that another mint may have killed is asked for at Portal before it is granted: always where two mints are
//     known to have run at once (Suspect), now and then where one was cut off and may be carried out yet (Doubt).
//  10. A token that can be served as it is waits for nobody. What would have Portal asked beyond Limits is turned away at
//     once: registrations first, then mints, then refreshes.
package session
