package main

import (
	"bytes"
	"errors"
	"fmt"
)

var (
	errNotOK     = errors.New("the status is not 200")
	errUnsized   = errors.New("no Content-Length")
	errMalformed = errors.New("no HTTP/1.1 answer")
	errTooLarge  = errors.New("the answer is too large")
	errClosed    = errors.New("the connection was closed")
	errBody      = errors.New("the body is not the document")
)

// mostAnswer is what an answer may have, header included: a multiple of any that is measured.
const mostAnswer = 8192

// readAnswer reads the answer at the beginning of in: its body, and how long it is, or 0 if it is not all there. It knows just
// what is measured: a 200 by HTTP/1.1, with a Content-Length.
func readAnswer(in []byte) (body []byte, length int, err error) {
	const status = "HTTP/1.1 200 "
	if !bytes.HasPrefix(in, []byte(status)) {
		return nil, 0, refuseStatus(in, status)
	}
	header, _, whole := bytes.Cut(in, []byte("\r\n\r\n"))
	if !whole {
		return nil, 0, nil
	}
	size, err := contentLength(header)
	if err != nil {
		return nil, 0, err
	}
	begin := len(header) + len("\r\n\r\n")
	if begin+size > mostAnswer {
		return nil, 0, errTooLarge
	}
	if len(in) < begin+size {
		return nil, 0, nil
	}
	return in[begin : begin+size], begin + size, nil
}

// refuseStatus tells what is wrong with an answer that does not begin as it should; nothing, if it may still.
func refuseStatus(in []byte, wanted string) error {
	if len(in) < len(wanted) && bytes.HasPrefix([]byte(wanted), in) {
		return nil
	}
	line, _, _ := bytes.Cut(in, []byte("\r\n"))
	if bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return fmt.Errorf("%w: %q", errNotOK, line)
	}
	return fmt.Errorf("%w: %q", errMalformed, line[:min(len(line), 40)])
}

// contentLength finds the one Content-Length in a header.
func contentLength(header []byte) (size int, err error) {
	const name = "\r\ncontent-length:"
	found := 0
	for i := bytes.IndexByte(header, '\r'); i >= 0 && i < len(header); i = next(header, i) {
		if len(header)-i < len(name) || !equalFold(header[i:i+len(name)], name) {
			continue
		}
		found++
		value, _, _ := bytes.Cut(header[i+len(name):], []byte("\r"))
		if size, err = decimal(bytes.Trim(value, " \t")); err != nil {
			return 0, err
		}
	}
	if found != 1 {
		return 0, fmt.Errorf("%w, or several: %d", errUnsized, found)
	}
	return size, nil
}

// next returns where the line after the one at i begins with its CR, or -1.
func next(header []byte, i int) int {
	after := bytes.IndexByte(header[i+1:], '\r')
	if after < 0 {
		return -1
	}
	return i + 1 + after
}

// equalFold compares with a text in lower case, of the same length.
func equalFold(a []byte, lower string) bool {
	for i, c := range a {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func decimal(digits []byte) (n int, err error) {
	if len(digits) == 0 || len(digits) > 6 {
		return 0, fmt.Errorf("%w: length %q", errMalformed, digits)
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, fmt.Errorf("%w: length %q", errMalformed, digits)
		}
		n = 10*n + int(d-'0')
	}
	return n, nil
}

// expectation is the document but for the digits of expiresIn, which count down.
type expectation struct{ before, after []byte }

func expect(document []byte) (e expectation, err error) {
	const field = `"expiresIn":`
	document = bytes.TrimSpace(document)
	i := bytes.Index(document, []byte(field))
	if i < 0 {
		return e, fmt.Errorf("%w: it has no expiresIn", errBody)
	}
	e.before = document[:i+len(field)]
	e.after = bytes.TrimLeft(document[len(e.before):], "0123456789")
	return e, nil
}

// check refuses any body but the document, with or without a line end.
func (e expectation) check(body []byte) error {
	rest, ok := bytes.CutPrefix(body, e.before)
	if !ok {
		return fmt.Errorf("%w: %q", errBody, body)
	}
	digits := 0
	for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
		digits++
	}
	if digits == 0 || !bytes.Equal(bytes.TrimSuffix(rest[digits:], []byte("\n")), e.after) {
		return fmt.Errorf("%w: %q", errBody, body)
	}
	return nil
}
