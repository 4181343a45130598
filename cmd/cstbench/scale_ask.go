package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// idDigits is how many digits the ids of numbered clients have, so that they are as long as Portal's.
const idDigits = len(clientID) - len("cm")

// numbered returns the client with the number.
func numbered(number int) session.ClientID {
	return session.ClientID(fmt.Sprintf("cm%0*d", idDigits, number))
}

// asked is a cstproxy with connections that ask it for tokens of numbered clients.
type asked struct {
	*running
	connections []*connection
}

// connection asks for one token after the other, and looks at each answer.
type connection struct {
	net.Conn
	answers *bufio.Reader
	request []byte
	// id is the part of the request that holds the client's.
	id   []byte
	body []byte
}

var errWrongAnswer = errors.New("wrong answer")

// connect opens n connections to what runs, in the place of those that are there. One on which nothing is asked is closed by the
// proxy: within seconds, if nothing ever was.
func (a *asked) connect(ctx context.Context, n int) error {
	err := a.Close()
	for range n {
		conn, dialed := new(net.Dialer).DialContext(ctx, a.Target.Network, a.Target.Address)
		if dialed != nil {
			return errors.Join(err, fmt.Errorf("connect: %w", dialed))
		}
		a.connections = append(a.connections, newConnection(conn, a.Target.Header))
	}
	return err
}

func newConnection(conn net.Conn, header http.Header) *connection {
	c := &connection{Conn: conn, answers: bufio.NewReader(conn), body: make([]byte, 4096)}
	var request bytes.Buffer
	request.WriteString("GET /v1/clients/")
	from := request.Len()
	request.WriteString(string(numbered(0)))
	to := request.Len()
	request.WriteString("/token HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: app\r\nAccept: application/json\r\n")
	_ = header.Write(&request) // a buffer takes all
	request.WriteString("\r\n")
	c.request = request.Bytes()
	c.id = c.request[from:to]
	return c
}

// Close closes the connections; what runs goes on.
func (a *asked) Close() (err error) {
	for _, c := range a.connections {
		err = errors.Join(err, c.Close())
	}
	a.connections = nil
	return err
}

// end closes the connections and stops what runs.
func (a *asked) end() error { return errors.Join(a.Close(), a.Stop()) }

// ask asks for the token of the client with the number.
func (c *connection) ask(number int) error {
	digits := strconv.AppendInt(c.body[:0], int64(number), 10)
	zeros := c.id[len("cm") : len(c.id)-len(digits)]
	copy(zeros, "00000000000000000000000")
	copy(c.id[len(c.id)-len(digits):], digits)
	if _, err := c.Write(c.request); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	length, err := c.readHead()
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(c.answers, c.body[:length]); err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	if rest, ok := bytes.CutPrefix(c.body[:length], []byte(`{"id":"`)); !ok || !bytes.HasPrefix(rest, c.id) || !bytes.Contains(rest, []byte(`"clientSessionToken":"`)) {
		return fmt.Errorf("%w: no token of the client: %s", errWrongAnswer, c.body[:length])
	}
	return nil
}

// readHead reads the head of a 200, and returns the length of its body.
func (c *connection) readHead() (length int, err error) {
	line, err := c.readLine()
	if err == nil && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		err = fmt.Errorf("%w: %s", errWrongAnswer, line)
	}
	for err == nil {
		if line, err = c.readLine(); len(line) == 0 {
			break
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			length, err = strconv.Atoi(string(value))
		}
	}
	if err == nil && (length < 0 || length > cap(c.body)) {
		err = fmt.Errorf("%w: its length is %d", errWrongAnswer, length)
	}
	return length, err
}

func (c *connection) readLine() ([]byte, error) {
	line, err := c.answers.ReadSlice('\n')
	if err != nil {
		return nil, fmt.Errorf("read an answer: %w", err)
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// spent is what some fetches took: processor time of the processes asked for one of them, and the median of what callers waited.
type spent struct{ processor, wait time.Duration }

// fetch has the connections make so many fetches between them, each of the client that pick says.
func (a *asked) fetch(fetches int, pick func() int) (spent, error) {
	each := fetches / len(a.connections)
	waits := make([][]time.Duration, len(a.connections))
	failed := make(chan error, len(a.connections))
	before, err := processorTime(a.Processes...)
	if err != nil {
		return spent{}, err
	}
	for i, c := range a.connections {
		go func() {
			var err error
			waits[i], err = c.askAll(each, pick)
			failed <- err
		}()
	}
	for range a.connections {
		err = errors.Join(err, <-failed)
	}
	after, clock := processorTime(a.Processes...)
	all := slices.Concat(waits...)
	slices.Sort(all)
	if err = errors.Join(err, clock); err != nil || len(all) == 0 {
		return spent{}, err
	}
	return spent{processor: (after - before) / time.Duration(len(all)), wait: all[len(all)/2]}, nil
}

func (c *connection) askAll(fetches int, pick func() int) (waits []time.Duration, err error) {
	waits = make([]time.Duration, 0, fetches)
	for range fetches {
		number, began := pick(), time.Now()
		if err := c.ask(number); err != nil {
			return waits, err
		}
		waits = append(waits, time.Since(began))
	}
	return waits, nil
}

// anyOf picks one of the first n clients.
func anyOf(n int) func() int { return func() int { return rand.IntN(n) } } //nolint:gosec // no secret
