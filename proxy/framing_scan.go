package proxy

import "math"

// fault is what is wrong with how a request is framed, in words; "" if nothing is.
type fault string

const (
	faultBareLF  fault = "a line of the header ends in LF without CR"
	faultBareCR  fault = "a line of the header has a CR that does not end it"
	faultNUL     fault = "the header has a NUL"
	faultFold    fault = "a line of the header begins with white space"
	faultName    fault = "a header field has white space in its name"
	faultLengths fault = "Content-Length is there more than once"
	faultBoth    fault = "both Content-Length and Transfer-Encoding are there"
	faultVersion fault = "Transfer-Encoding is for HTTP/1.1"
	faultCoding  fault = "the only transfer coding is chunked, once"
)

// part is where in a message a scan is.
type part uint8

const (
	partStart part = iota // before the request line
	partRequest
	partName
	partValue
	partLength // the value of Content-Length
	partCoding // the value of Transfer-Encoding
	partChunk  // the line with a chunk's size
	partExtension
	partLost // nothing is looked at any more
)

// scan follows the bytes of a connection from request to request, as net/http reads them, and finds the first header
// section with a fault. It keeps nothing of what it has seen but counts. The zero scan is at the start.
type scan struct {
	part part
	// skip is how much of a body is to come that is not looked at.
	skip int64

	// sections counts the header sections that have ended. The one numbered bad, from 1, has the fault.
	sections, bad uint64
	fault         fault
	// partial: of a header section some has come.
	partial bool
	// trailer: the lines of fields are those after a body in chunks.
	trailer bool

	// Of the line: how many bytes it has so far, less a CR that it ends in.
	at   int
	cr   bool
	name [len("transfer-encoding")]byte

	// Of the header section. version is the end of the request line.
	version          [len("HTTP/1.1")]byte
	lengths, codings int
	length           int64
	// chunked counts the letters of that word which the transfer coding has; -1 if it is another.
	chunked int
	// digits and size are of a chunk.
	digits int
	size   int64
}

// take looks at p, and returns how much of it there is up to the first fault, or all.
func (s *scan) take(p []byte) int {
	for at := 0; at < len(p) && s.part != partLost; {
		if n := s.plain(p[at:]); n > 0 {
			at += n
			continue
		}
		s.next(p[at])
		at++
		if s.fault != "" {
			return at
		}
	}
	return len(p)
}

// plain passes over what p begins with that says nothing: of a body or a value, most of what there is.
func (s *scan) plain(p []byte) (n int) {
	if s.skip > 0 {
		n = int(min(s.skip, int64(len(p))))
		s.skip -= int64(n)
		return n
	}
	if s.part != partValue || s.cr {
		return 0
	}
	for n < len(p) && p[n] != '\r' && p[n] != '\n' && p[n] != 0 {
		n++
	}
	s.at += n
	return n
}

func (s *scan) next(b byte) {
	switch s.part {
	case partStart:
		if b == '\r' || b == '\n' {
			return // net/http takes an empty line or two after a POST
		}
		s.begin()
		s.line(b)
	case partChunk, partExtension:
		s.chunk(b)
	default:
		s.line(b)
	}
}

// begin begins a header section.
func (s *scan) begin() {
	s.part, s.partial, s.trailer = partRequest, true, false
	s.lengths, s.length, s.codings, s.chunked = 0, 0, 0, 0
	s.newLine()
}

func (s *scan) newLine() { s.at, s.cr = 0, false }

// found notes the first fault; what comes then is refused or not read.
func (s *scan) found(f fault) {
	s.part, s.fault, s.bad = partLost, f, s.sections+1
}

// line takes a byte of a line of a header, or of a trailer.
func (s *scan) line(b byte) {
	switch {
	case b == '\n' && s.cr:
		s.endLine()
	case b == '\n':
		s.found(faultBareLF)
	case s.cr:
		s.found(faultBareCR)
	case b == 0:
		s.found(faultNUL)
	case b == '\r':
		s.cr = true
	default:
		s.content(b)
		s.at++
	}
}

func (s *scan) content(b byte) {
	switch s.part {
	case partRequest:
		copy(s.version[:], s.version[1:])
		s.version[len(s.version)-1] = b
	case partName:
		s.inName(b)
	case partLength:
		s.inLength(b)
	case partCoding:
		s.inCoding(b)
	}
}

func (s *scan) inName(b byte) {
	switch {
	case isBlank(b) && s.at == 0:
		s.found(faultFold)
	case isBlank(b):
		s.found(faultName)
	case b == ':':
		s.named()
	case s.at < len(s.name):
		s.name[s.at] = lower(b)
	}
}

// named begins the value.
func (s *scan) named() {
	s.part = partValue
	switch {
	case s.trailer || s.at > len(s.name):
	case string(s.name[:s.at]) == "content-length":
		s.part = partLength
		s.lengths++
	case string(s.name[:s.at]) == "transfer-encoding":
		s.part = partCoding
		s.codings++
	}
}

// inLength reads a number; one near the largest is as good as that. Net/http refuses what is none.
func (s *scan) inLength(b byte) {
	switch {
	case b < '0' || b > '9':
	case s.length >= math.MaxInt64/10:
		s.length = math.MaxInt64
	default:
		s.length = s.length*10 + int64(b-'0')
	}
}

func (s *scan) inCoding(b byte) {
	const word = "chunked"
	switch ended := s.chunked == len(word); {
	case isBlank(b) && (ended || s.chunked == 0):
	case s.chunked >= 0 && !ended && lower(b) == word[s.chunked]:
		s.chunked++
	default:
		s.chunked = -1
	}
}

func (s *scan) endLine() {
	empty := s.at == 0
	s.newLine()
	switch {
	case !empty || s.part == partRequest:
		s.part = partName
	case s.trailer:
		s.part = partStart
	default:
		s.endSection()
	}
}

// endSection says what comes after the header: another, or a body before that.
func (s *scan) endSection() {
	chunked := s.chunked == len("chunked")
	switch {
	case s.lengths > 1:
		s.found(faultLengths)
	case s.lengths > 0 && s.codings > 0:
		s.found(faultBoth)
	case s.codings > 0 && string(s.version[:]) != "HTTP/1.1":
		s.found(faultVersion)
	case s.codings > 1, s.codings == 1 && !chunked:
		s.found(faultCoding)
	default:
		s.sections++
		s.partial = false
		s.part, s.skip = partStart, s.length
		if chunked {
			s.newChunk()
		}
	}
}
