// Package cache keeps tokens for package session: in Redis ([Redis]), in the process ([Memory]), or in Redis with a
// memory in front of it ([Tier]). All of them pass the contract in package sessiontest.
//
// What holds:
//
//  1. A client has one record, a packed string that carries its own absolute dates. They decide; the expiry in Redis
//     only frees the space, and comes no later than the token's own.
//  2. A record is sealed ([Seal]) for its client, its token and its prefix. One that turns up anywhere else, or is torn, is no
//     token. Nothing else in Redis holds a token or names a client either.
//  3. Slide and forget are compare-and-set in one script each: on the token named, and only forward.
//  4. Dates are by the clock that the fleet shares ([Clock]), and never by one that is ahead of Redis's.
//  5. No command is sent twice: a reply that was lost does not say that the command was.
package cache
