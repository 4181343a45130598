package proxy

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"regexp"
	"strings"
	"testing"
)

// framings are streams of requests, each with the number of the first that must be refused, and why.
var framings = map[string]struct {
	stream string
	bad    uint64
	fault  fault
}{
	"a plain request":                     {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0, ""},
	"two requests at once":                {"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 0, ""},
	"an empty value":                      {"GET / HTTP/1.1\r\nHost:\r\nX:\r\n\r\n", 0, ""},
	"white space around values":           {"POST / HTTP/1.1\r\nHost: \t h \t\r\nContent-Length:\t 3 \r\n\r\na\nb", 0, ""},
	"a colon in a value":                  {"GET / HTTP/1.1\r\nHost: h:80\r\nX: Content-Length: 3\r\nY: Content-Length: 4\r\n\r\n", 0, ""},
	"a body that looks like a header":     {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\n\n\r\r\n x : y\n\x00GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0, ""},
	"chunks that look like a header":      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked \r\n\r\nb;a=\"b\"\r\n\n\r\r\n x : y\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 0, ""},
	"a trailer":                           {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\nX: y\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 0, ""},
	"empty lines after a body":            {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na\r\n\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 0, ""},
	"names that contain the ones":         {"GET / HTTP/1.1\r\nHost: h\r\nX-Content-Length: 1\r\nContent-Lengthy: 2\r\nContent-Lengt: 3\r\nX-Transfer-Encoding: y\r\n\r\n", 0, ""},
	"the largest length":                  {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775807\r\n\r\na\nb", 0, ""},
	"half a request":                      {"GET / HTTP/1.1\r\nHost: h\r", 0, ""},
	"LF after the request line":           {"GET / HTTP/1.1\nHost: h\r\n\r\n", 1, faultBareLF},
	"LF after a field":                    {"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 1, faultBareLF},
	"LF for the empty line":               {"GET / HTTP/1.1\r\nHost: h\r\n\n", 1, faultBareLF},
	"LF alone throughout":                 {"GET / HTTP/1.1\nHost: h\n\n", 1, faultBareLF},
	"LF in the second request":            {"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\nHost: h\n\n", 2, faultBareLF},
	"LF after a body":                     {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na\nbGET / HTTP/1.1\nHost: h\n\n", 2, faultBareLF},
	"LF after chunks":                     {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.1\nHost: h\n\n", 2, faultBareLF},
	"LF after a chunk with many zeros":    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000000A\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.1\nHost: h\n\n", 2, faultBareLF},
	"LF in a trailer":                     {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 2, faultBareLF},
	"LF after a trailer":                  {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\nHost: h\r\n\r\n", 2, faultBareLF},
	"CR in a value":                       {"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 1, faultBareCR},
	"CR twice":                            {"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", 1, faultBareCR},
	"NUL in a value":                      {"GET / HTTP/1.1\r\nHost: h\x00\r\n\r\n", 1, faultNUL},
	"NUL in the request line":             {"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n", 1, faultNUL},
	"a folded line":                       {"GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\n\r\n", 1, faultFold},
	"a line folded by a tab":              {"GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n\tContent-Length: 1\r\n\r\n", 1, faultFold},
	"a line of white space":               {"GET / HTTP/1.1\r\nHost: h\r\n \r\n\r\n", 1, faultFold},
	"white space before the first field":  {"GET / HTTP/1.1\r\n Host: h\r\n\r\n", 1, faultFold},
	"white space before the colon":        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 1\r\n\r\na", 1, faultName},
	"a tab before the colon":              {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 1, faultName},
	"equal lengths":                       {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 1, faultLengths},
	"different lengths":                   {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\ncontent-length: 2\r\n\r\na", 1, faultLengths},
	"more than the largest length, twice": {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999999999999\r\ncontent-length: 2\r\n\r\na", 1, faultLengths},
	"a length and chunks":                 {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1, faultBoth},
	"chunks and a length":                 {"POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH: 5\r\n\r\n0\r\n\r\n", 1, faultBoth},
	"chunks in HTTP/1.0":                  {"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1, faultVersion},
	"another coding":                      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 1, faultCoding},
	"a coding that begins like it":        {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunk\r\n\r\n0\r\n\r\n", 1, faultCoding},
	"a coding that goes on after it":      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked \tx\r\n\r\n0\r\n\r\n", 1, faultCoding},
	"two codings":                         {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 1, faultCoding},
	"chunked twice":                       {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1, faultCoding},
	"no coding":                           {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 1, faultCoding},
}

// scanned is what a scan makes of the stream if it comes in pieces that end at these places.
func scanned(stream []byte, ends ...int) scan {
	var s scan
	from := 0
	for _, end := range append(ends, len(stream)) {
		s.take(stream[from:end])
		from = end
	}
	return s
}

func TestFaultsOfFramingAreFoundWhereverTheReadsEnd(t *testing.T) {
	t.Parallel()
	for name, tt := range framings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream := []byte(tt.stream)
			for at := range stream {
				if got := scanned(stream, at); got.bad != tt.bad || got.fault != tt.fault {
					t.Fatalf("in two pieces, the first of %d bytes: request %d has the fault %q, want %d and %q", at, got.bad, got.fault, tt.bad, tt.fault)
				}
			}
			var each scan
			for at := range stream {
				each.take(stream[at : at+1])
			}
			if each.bad != tt.bad || each.fault != tt.fault {
				t.Errorf("byte by byte: request %d has the fault %q, want %d and %q", each.bad, each.fault, tt.bad, tt.fault)
			}
		})
	}
}

func TestPartialHeaderIsToldFromNone(t *testing.T) {
	t.Parallel()
	for stream, partial := range map[string]bool{
		"":                                  false,
		"\r\n":                              false,
		"G":                                 true,
		"GET / HTTP/1.1\r\nHost: h\r\n\r":   true,
		"GET / HTTP/1.1\nHost: h\r\n":       true,
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n": false,
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na":              false,
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n": false,
	} {
		if got := scanned([]byte(stream)).partial; got != partial {
			t.Errorf("%q: partial = %t", stream, got)
		}
	}
}

// What a header section must not have, for one who sees all of it.
var (
	bareLF    = regexp.MustCompile(`(?:^|[^\r])\n`)
	bareCR    = regexp.MustCompile(`\r[^\n]`)
	blankName = regexp.MustCompile(`\r\n[^:\r\n]*[ \t]`)
	aLength   = regexp.MustCompile(`(?i)\r\ncontent-length:`)
	aCoding   = regexp.MustCompile(`(?i)\r\ntransfer-encoding:`)
	oneOne    = regexp.MustCompile(`^[^\n]* HTTP/1\.1\r\n`)
)

func isBad(header []byte) bool {
	lengths, codings := len(aLength.FindAll(header, -1)), len(aCoding.FindAll(header, -1))
	return badLines(header) || lengths > 1 || codings > 1 || lengths > 0 && codings > 0 || codings > 0 && !oneOne.Match(header)
}

func badLines(lines []byte) bool {
	return bareLF.Match(lines) || bareCR.Match(lines) || blankName.Match(lines) || bytes.IndexByte(lines, 0) >= 0
}

// reference reads the stream as net/http does, with its own functions, and returns the number of the first request that it
// would serve and must not, or 0, and how many requests it reads.
func reference(stream []byte) (bad, read uint64) {
	under := bytes.NewReader(stream)
	buffered := bufio.NewReader(under)
	at := func() int { return len(stream) - under.Len() - buffered.Buffered() }
	post, badTrailer := false, false
	for {
		if post {
			peek, _ := buffered.Peek(4)
			_, _ = buffered.Discard(len(peek) - len(bytes.TrimLeft(peek, "\r\n")))
		}
		begin := at()
		request, err := http.ReadRequest(buffered)
		if err != nil || request.ProtoMajor != 1 {
			return 0, read
		}
		read++
		post = request.Method == http.MethodPost
		end := at()
		if badTrailer || isBad(stream[begin:end]) {
			return read, read
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return 0, read
		}
		badTrailer = request.TransferEncoding != nil && badLines(append([]byte("\r\n"), trailer(stream[end:at()])...))
	}
}

// trailer returns what comes after the last chunk.
func trailer(body []byte) []byte {
	under := bytes.NewReader(body)
	buffered := bufio.NewReader(under)
	_, _ = io.Copy(io.Discard, httputil.NewChunkedReader(buffered))
	return body[len(body)-under.Len()-buffered.Buffered():]
}

func FuzzFraming(f *testing.F) {
	for _, tt := range framings {
		f.Add([]byte(tt.stream), uint64(0))
		f.Add([]byte(tt.stream+tt.stream), uint64(1))
	}
	f.Add([]byte(strings.Repeat("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 20)), uint64(2))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		whole := scanned(stream)
		if want, read := reference(stream); want != 0 && whole.bad != want || want == 0 && whole.bad != 0 && whole.bad <= read {
			t.Errorf("%q: request %d has the fault %q, want %d of %d", stream, whole.bad, whole.fault, want, read)
		}
		pieces, random := scan{}, rand.New(rand.NewPCG(seed, seed))
		for rest := stream; len(rest) > 0; {
			n := 1 + random.IntN(min(len(rest), 40))
			pieces.take(rest[:n])
			rest = rest[n:]
		}
		if pieces != whole {
			t.Errorf("%q: in pieces %+v, whole %+v", stream, pieces, whole)
		}
	})
}

// sdkHeader is a request as an app's HTTP library makes it.
const sdkHeader = "POST /api/v3/clients/me/chains/eip155:1/assets/send HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: axios/1.7.9\r\n" +
	"Accept: application/json, text/plain, */*\r\nAccept-Encoding: gzip, compress, deflate, br\r\nContent-Type: application/json\r\n" +
	"Content-Length: 120\r\nConnection: keep-alive\r\nX-Portal-Client-Id: cm0r6nkek00ej10dwwx8wdjmf\r\nX-Request-Id: 0f8fad5b-d9cb-469f-a165-70867728950e\r\n" +
	"Authorization: Bearer 0123456789abcdef0123456789abcdef0123456789abcdef\r\n\r\n"

func BenchmarkFraming(b *testing.B) {
	request := []byte(sdkHeader + strings.Repeat("x", 120))
	b.SetBytes(int64(len(request)))
	b.ReportAllocs()
	var s scan
	for b.Loop() {
		s.take(request)
	}
	if s.fault != "" || s.sections == 0 {
		b.Fatal(s)
	}
}
