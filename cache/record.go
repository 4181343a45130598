package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// The record of a token, version 2. The scripts read the fields before the secret by these places (from 1, in Lua).
//
//	offset  0  version
//	        1  token id, 16 bytes
//	       17  client tag, 8 bytes
//	       25  minted, Unix ms, 8 bytes, big endian
//	       33  active, Unix ms, 8 bytes, big endian
//	       41  fence, 8 bytes, big endian
//	       49  in doubt until, Unix ms, 8 bytes, big endian; 0 = not in doubt
//	       57  flags: 1 = account abstracted, 2 = suspect
//	       58  secret, to the end
const (
	recordVersion = 2
	offsetID      = 1
	offsetTag     = 17
	offsetMinted  = 25
	offsetActive  = 33
	offsetFence   = 41
	offsetDoubt   = 49
	offsetFlags   = 57
	offsetSecret  = 58

	flagAccountAbstracted = 1
	flagSuspect           = 2

	// forgotten is the mark that a token leaves which was forgotten.
	forgotten = "\x00"

	// latestDate keeps dates where a Lua number, a double, still holds them exactly, with room to add days.
	latestDate = 1 << 50
)

// encodeRecord packs token into what [decodeRecord] reads.
func encodeRecord(token session.Token) []byte {
	secret := token.Secret.Reveal()
	tag := clientTag(token.Client)
	record := make([]byte, 0, offsetSecret+len(secret))
	record = append(record, recordVersion)
	record = append(record, token.ID[:]...)
	record = append(record, tag[:]...)
	record = binary.BigEndian.AppendUint64(record, uint64(token.MintedAt.UnixMilli()))
	record = binary.BigEndian.AppendUint64(record, uint64(token.ActiveAt.UnixMilli()))
	record = binary.BigEndian.AppendUint64(record, token.Fence)
	record = binary.BigEndian.AppendUint64(record, uint64(stamp(token.Doubt))) //nolint:gosec // not negative
	var flags byte
	if token.AccountAbstracted {
		flags |= flagAccountAbstracted
	}
	if token.Suspect {
		flags |= flagSuspect
	}
	record = append(record, flags)
	return append(record, secret...)
}

// decodeRecord returns the token of client that record holds. Anything but a whole record of this very client is
// [session.ErrRecordUnreadable]; no byte of it is in the error.
func decodeRecord(client session.ClientID, record string) (session.Token, error) {
	if len(record) <= offsetSecret {
		return session.Token{}, unreadable("it is too short")
	}
	if record[0] != recordVersion {
		return session.Token{}, unreadable("its version is not known")
	}
	if tag := clientTag(client); record[offsetTag:offsetMinted] != string(tag[:]) {
		return session.Token{}, unreadable("it belongs to another client")
	}
	if record[offsetFlags] > flagAccountAbstracted|flagSuspect {
		return session.Token{}, unreadable("its flags are not known")
	}
	minted, active, doubt := date(record[offsetMinted:]), date(record[offsetActive:]), date(record[offsetDoubt:])
	if !possible(minted, active, doubt) {
		return session.Token{}, unreadable("its dates are impossible")
	}
	token := session.Token{
		Client:            client,
		ID:                session.TokenID([]byte(record[offsetID:offsetTag])),
		Secret:            session.NewSecret(record[offsetSecret:]),
		AccountAbstracted: record[offsetFlags]&flagAccountAbstracted != 0,
		Suspect:           record[offsetFlags]&flagSuspect != 0,
		Fence:             binary.BigEndian.Uint64([]byte(record[offsetFence:offsetDoubt])),
		MintedAt:          time.UnixMilli(minted).UTC(),
		ActiveAt:          time.UnixMilli(active).UTC(),
		Doubt:             moment(doubt),
	}
	if session.IdentifyToken(token.Secret) != token.ID {
		return session.Token{}, unreadable("its secret is torn")
	}
	return token, nil
}

func possible(minted, active, doubt int64) bool {
	return minted > 0 && active >= minted && active <= latestDate && doubt >= 0 && doubt <= latestDate
}

func unreadable(why string) error {
	return fmt.Errorf("%w: %s", session.ErrRecordUnreadable, why)
}

// clientTag ties a record to its client, so that a reply meant for another question is seen for what it is.
func clientTag(client session.ClientID) [8]byte {
	sum := sha256.Sum256([]byte(client))
	return [8]byte(sum[:8])
}

// stamp returns a date's Unix ms, or 0 for the zero date; moment turns that back.
func stamp(date time.Time) int64 {
	if date.IsZero() {
		return 0
	}
	return date.UnixMilli()
}

func moment(stamp int64) time.Time {
	if stamp == 0 {
		return time.Time{}
	}
	return time.UnixMilli(stamp).UTC()
}

// date reads 8 bytes; a number too large for a date comes out negative, which no caller accepts.
func date(field string) int64 {
	return int64(binary.BigEndian.Uint64([]byte(field[:8]))) //nolint:gosec // overflow is refused by the caller
}
