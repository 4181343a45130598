package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestAnswerIsReadOnceAllOfItIsThere(t *testing.T) {
	const whole = "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-LENGTH:  5 \r\nX-Content-Length: 9\r\n\r\nhello"
	for end := range whole {
		if body, length, err := readAnswer([]byte(whole[:end])); body != nil || length != 0 || err != nil {
			t.Fatalf("of the first %d bytes it read %q, %d, %v", end, body, length, err)
		}
	}
	body, length, err := readAnswer([]byte(whole + "HTTP"))
	if string(body) != "hello" || length != len(whole) || err != nil {
		t.Errorf("read %q, %d, %v", body, length, err)
	}
}

func TestAnswerThatIsNotMeasuredIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"another status":  {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", errNotOK},
		"another version": {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", errMalformed},
		"no length":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", errUnsized},
		"two lengths":     {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", errUnsized},
		"a signed length": {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", errMalformed},
		"a huge length":   {"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", errTooLarge},
		"an empty length": {"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", errMalformed},
	} {
		if _, _, err := readAnswer([]byte(c.text)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestBodyMustBeTheDocumentButForItsCountdown(t *testing.T) {
	e, err := expect([]byte(`{"id":"a","expiresIn":86399,"tokenId":"b"}` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	for body, right := range map[string]bool{
		`{"id":"a","expiresIn":86399,"tokenId":"b"}`:       true,
		`{"id":"a","expiresIn":1,"tokenId":"b"}` + "\n":    true,
		`{"id":"c","expiresIn":86399,"tokenId":"b"}`:       false,
		`{"id":"a","expiresIn":86399,"tokenId":"c"}`:       false,
		`{"id":"a","expiresIn":,"tokenId":"b"}`:            false,
		`{"id":"a","expiresIn":-1,"tokenId":"b"}`:          false,
		`{"id":"a","expiresIn":86399,"tokenId":"b"}` + " ": false,
		`{"id":"a","expiresIn":86399,"tokenId":"b"}` + "x": false,
		``: false,
	} {
		if err := e.check([]byte(body)); (err == nil) != right {
			t.Errorf("%q: %v", body, err)
		}
	}
	if _, err := expect([]byte(`{"id":"a"}`)); err == nil {
		t.Error("a document without expiresIn is none")
	}
}

// FuzzReadAnswer holds readAnswer to net/http: what it takes for an answer has the body that net/http reads.
func FuzzReadAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 \r\ncontent-length:0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 2",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		body, length, err := readAnswer(in)
		if err != nil || length == 0 {
			return
		}
		if length > len(in) || len(body) > length {
			t.Fatalf("%d bytes of %d, a body of %d", length, len(in), len(body))
		}
		header := strings.ReplaceAll(string(in[:length-len(body)]), "\r\n", "")
		answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), nil)
		if err != nil || len(answer.TransferEncoding) > 0 || strings.ContainsAny(header, "\r\n") {
			return // no server that is measured sends these, and readAnswer need not know them
		}
		defer func() { _ = answer.Body.Close() }()
		want, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
		if err != nil || !bytes.Equal(want, body) {
			t.Errorf("read %q, net/http %q, %v", body, want, err)
		}
	})
}
