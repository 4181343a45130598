package cache

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// The record of a token, version 3. The scripts read and change the fields before the sealed part by these places (from 1,
// in Lua), so those are not sealed; what they may become is bounded by what is.
//
//	offset  0  version
//	        1  token id, 16 bytes
//	       17  client tag, 8 bytes
//	       25  minted, Unix ms, 8 bytes, big endian
//	       33  active, Unix ms, 8 bytes, big endian
//	       41  fence, 8 bytes, big endian
//	       49  in doubt until, Unix ms, 8 bytes, big endian; 0 = not in doubt
//	       57  flags: 1 = account abstracted, 2 = suspect
//	       58  sealed, to the end: minted as it was at first, flags as they were, secret
//
// The sealed part opens only for the store's prefix, the client, and the first three fields.
const (
	recordVersion = 3
	offsetID      = 1
	offsetTag     = 17
	offsetMinted  = 25
	offsetActive  = 33
	offsetFence   = 41
	offsetDoubt   = 49
	offsetFlags   = 57
	offsetSealed  = 58

	// Within what was sealed.
	innerFlags  = 8
	innerSecret = 9

	flagAccountAbstracted = 1
	flagSuspect           = 2

	// forgotten is the mark that a token leaves which was forgotten.
	forgotten = "\x00"

	// latestDate keeps dates where a Lua number, a double, still holds them exactly, with room to add days.
	latestDate = 1 << 50
)

// encode packs token into what [Seal.decode] reads.
func (s *Seal) encode(token session.Token) ([]byte, error) {
	tag, flags := s.tag(token.Client), flagsOf(token)
	record := make([]byte, 0, 256)
	record = append(record, recordVersion)
	record = append(record, token.ID[:]...)
	record = append(record, tag[:]...)
	sealed, err := s.sealSecret(token, flags, string(record))
	if err != nil {
		return nil, fmt.Errorf("seal token: %w", err)
	}
	record = binary.BigEndian.AppendUint64(record, uint64(token.MintedAt.UnixMilli()))
	record = binary.BigEndian.AppendUint64(record, uint64(token.ActiveAt.UnixMilli()))
	record = binary.BigEndian.AppendUint64(record, token.Fence)
	record = binary.BigEndian.AppendUint64(record, uint64(stamp(token.Doubt))) //nolint:gosec // not negative
	record = append(record, flags)
	return append(record, sealed...), nil
}

func (s *Seal) sealSecret(token session.Token, flags byte, head string) ([]byte, error) {
	secret := token.Secret.Reveal()
	inner := make([]byte, 0, innerSecret+len(secret))
	inner = binary.BigEndian.AppendUint64(inner, uint64(token.MintedAt.UnixMilli()))
	inner = append(inner, flags)
	inner = append(inner, secret...)
	return s.seal(inner, kindToken, string(token.Client), head)
}

func flagsOf(token session.Token) (flags byte) {
	if token.AccountAbstracted {
		flags |= flagAccountAbstracted
	}
	if token.Suspect {
		flags |= flagSuspect
	}
	return flags
}

// decode returns the token of client that record holds. Anything but a whole record of this very client is
// [session.ErrRecordUnreadable]; no byte of it is in the error. old: it is to be sealed anew.
func (s *Seal) decode(client session.ClientID, record string) (token session.Token, old bool, err error) {
	if why := misshapen(record); why != "" {
		return session.Token{}, false, unreadable(why)
	}
	text, old, err := s.openSecret(client, record)
	if err != nil {
		return session.Token{}, false, unreadable(err.Error())
	}
	if len(text) <= innerSecret || (text[innerFlags]^record[offsetFlags])&flagAccountAbstracted != 0 {
		return session.Token{}, false, unreadable("its flags are not those that were sealed")
	}
	if date(record[offsetMinted:]) > date(string(text[:innerFlags])) {
		return session.Token{}, false, unreadable("it is younger than it was when it was sealed")
	}
	token = header(record)
	token.Client, token.Secret = client, session.NewSecret(string(text[innerSecret:]))
	if session.IdentifyToken(token.Secret) != token.ID {
		return session.Token{}, false, unreadable("its secret is another token's")
	}
	return token, old, nil
}

// openSecret opens the sealed part of a record that is not misshapen.
func (s *Seal) openSecret(client session.ClientID, record string) (text []byte, old bool, err error) {
	return s.open(record[offsetSealed:], kindToken, string(client), record[:offsetMinted])
}

// misshapen says what is wrong with a record before anything is opened.
func misshapen(record string) string {
	switch {
	case len(record) <= offsetSealed:
		return "it is too short"
	case record[0] != recordVersion:
		return "its version is not known"
	case record[offsetFlags] > flagAccountAbstracted|flagSuspect:
		return "its flags are not known"
	case !possible(date(record[offsetMinted:]), date(record[offsetActive:]), date(record[offsetDoubt:])):
		return "its dates are impossible"
	}
	return ""
}

// header returns the token of a record but for what is sealed.
func header(record string) session.Token {
	return session.Token{
		ID:                session.TokenID([]byte(record[offsetID:offsetTag])),
		AccountAbstracted: record[offsetFlags]&flagAccountAbstracted != 0,
		Suspect:           record[offsetFlags]&flagSuspect != 0,
		Fence:             binary.BigEndian.Uint64([]byte(record[offsetFence:offsetDoubt])),
		MintedAt:          time.UnixMilli(date(record[offsetMinted:])).UTC(),
		ActiveAt:          time.UnixMilli(date(record[offsetActive:])).UTC(),
		Doubt:             moment(date(record[offsetDoubt:])),
	}
}

// misplaced reports whether record is no record of client at all, so that it may be the reply to another question.
func (s *Seal) misplaced(client session.ClientID, record string) bool {
	tag := s.tag(client)
	return len(record) <= offsetSealed || record[offsetTag:offsetMinted] != string(tag[:])
}

func possible(minted, active, doubt int64) bool {
	return minted > 0 && active >= minted && active <= latestDate && doubt >= 0 && doubt <= latestDate
}

func unreadable(why string) error {
	return fmt.Errorf("%w: %s", session.ErrRecordUnreadable, why)
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
