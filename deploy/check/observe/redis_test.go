package observe

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// redis is a server on a socket of its own.
type redis struct {
	*process
	environ []string
	socket  string
}

func startRedis(t *testing.T, directory string, ahead int) *redis {
	t.Helper()
	r := &redis{socket: filepath.Join(directory, "redis")}
	if ahead != 0 {
		r.environ = clock(t, ahead)
	}
	r.launch(t)
	return r
}

// launch starts the server, again if it was killed; what it held is lost.
func (r *redis) launch(t *testing.T) {
	t.Helper()
	r.process = start(t, r.environ, "redis-server", "--port", "0", "--unixsocket", r.socket, "--save", "", "--appendonly", "no",
		"--io-threads", "1", "--dir", filepath.Dir(r.socket))
	await(t, "Redis to answer", func() bool {
		said, err := r.do("PING")
		return err == nil && len(said) > 0 || r.hasEnded()
	})
}

// do sends a command and returns the words of the reply.
func (r *redis) do(words ...string) ([]string, error) {
	conn, err := net.DialTimeout("unix", r.socket, time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(conn, command.String()); err != nil {
		return nil, err
	}
	return reply(bufio.NewReader(conn))
}

// reply reads a reply of strings, however deep, flat.
func reply(from *bufio.Reader) ([]string, error) {
	line, err := from.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSpace(line)
	switch line[0] {
	case '-':
		return nil, fmt.Errorf("Redis says %s", line)
	case '*':
		var all []string
		n, _ := strconv.Atoi(line[1:])
		for range n {
			part, err := reply(from)
			if err != nil {
				return nil, err
			}
			all = append(all, part...)
		}
		return all, nil
	case '$':
		n, _ := strconv.Atoi(line[1:])
		if n < 0 {
			return []string{""}, nil
		}
		text := make([]byte, n+2)
		_, err := io.ReadFull(from, text)
		return []string{string(text[:n])}, err
	}
	return []string{line[1:]}, nil
}

// clock returns the environment in which a Redis goes so many seconds ahead.
func clock(t *testing.T, seconds int) []string {
	t.Helper()
	directory := t.TempDir()
	library := filepath.Join(directory, "clock.so")
	if said, err := exec.Command("cc", "-shared", "-fPIC", "-o", library, clockSource).CombinedOutput(); err != nil {
		t.Fatalf("compile the clock: %v\n%s", err, said)
	}
	file := filepath.Join(directory, "clock")
	(&fleet{t: t}).write(file, strconv.Itoa(seconds))
	return []string{"LD_PRELOAD=" + library, "CLOCK_FILE=" + file}
}

// slowly returns a way to Redis on which each reply takes so long.
func slowly(wait time.Duration) func(t *testing.T, socket string) string {
	return func(t *testing.T, socket string) string {
		t.Helper()
		way := socket + "-slow"
		listener, err := net.Listen("unix", way)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				near, err := listener.Accept()
				if err != nil {
					return // the test is over
				}
				go join(near, socket, wait)
			}
		}()
		return way
	}
}

func join(near net.Conn, socket string, wait time.Duration) {
	defer near.Close()
	far, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	}()
	type piece struct {
		due  time.Time
		text []byte
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer close(pieces)
		for {
			text := make([]byte, 16<<10)
			n, err := far.Read(text)
			if err != nil {
				return
			}
			pieces <- piece{time.Now().Add(wait), text[:n]}
		}
	}()
	for p := range pieces {
		<-time.After(time.Until(p.due))
		if _, err := near.Write(p.text); err != nil {
			return
		}
	}
}
