package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cstproxy/cstproxy/cache/redistest"
)

// TestScripts runs the operator's manual. Beside the commands of testscript a script has those below.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv(raceSettings())
			env.Values[serversOf{}] = map[string]*redistest.Server{}
			env.Values[testOf{}] = env.T()
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ask":      scriptAsk,
			"bearer":   scriptBearer,
			"exits":    scriptExits,
			"freeport": scriptFreePort,
			"mode":     scriptMode,
			"record":   scriptRecord,
			"redis":    scriptRedis,
			"sigterm":  scriptSigterm,
			"stale":    scriptStale,
			"waitfor":  scriptWaitFor,
		},
	})
}

// The keys of a script's values: its own test, and the Redis servers that it started (:: variable → server).
type (
	testOf    struct{}
	serversOf struct{}
)

// usage fails a script that gets a command wrong.
func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

// scriptExits runs a program, which must end with that exit code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "exits CODE PROGRAM [ARG...]")
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		code = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

var (
	portsMu sync.Mutex
	// portsGiven :: port → given to a script
	portsGiven = map[int]bool{}
)

// scriptFreePort sets each VARIABLE to an address on loopback that nobody listens on, and VARIABLE_PORT to its port. It
// lies below those that systems take for outgoing connections, and those that redistest takes, so that it stays free.
func scriptFreePort(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "freeport VARIABLE...")
	for _, variable := range args {
		port := strconv.Itoa(freePort())
		ts.Setenv(variable, "127.0.0.1:"+port)
		ts.Setenv(variable+"_PORT", port)
	}
}

func freePort() int {
	portsMu.Lock()
	defer portsMu.Unlock()
	for {
		port := 2000 + rand.IntN(9000)
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil || portsGiven[port] {
			continue
		}
		_ = listener.Close()
		portsGiven[port] = true
		return port
	}
}

// scriptAsk makes a request and prints the answer: status, headers, body. ADDRESS is host:port or unix:/path. The
// answer must be a success; with ! there must be none, or a failure. $ASK_HEADER, if set, is a header line of the request.
func scriptAsk(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 3 || len(args) == 4, "[!] ask METHOD ADDRESS PATH [BODY]")
	status, text, err := request(args[0], args[1], args[2], strings.Join(args[3:], ""), ts.Getenv("ASK_HEADER"))
	fmt.Fprint(ts.Stdout(), text)
	succeeded := err == nil && status >= 200 && status <= 299
	if succeeded == neg {
		ts.Fatalf("status %d, error %v", status, err)
	}
}

// scriptBearer has every ask from here on send the key that cstproxy key new printed into FILE.
func scriptBearer(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "bearer FILE")
	_, after, found := strings.Cut(ts.ReadFile(args[0]), "Authorization: ")
	credential, _, _ := strings.Cut(after, "\n")
	if !found {
		ts.Fatalf("no key in %s", args[0])
	}
	ts.Setenv("ASK_HEADER", "Authorization: "+credential)
}

// scriptWaitFor waits until a GET is answered with STATUS, 200 unless given.
func scriptWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 2 || len(args) == 3), "waitfor ADDRESS PATH [STATUS]")
	want := append(slices.Clone(args), "200")[2]
	var status int
	var err error
	deadline, tick := time.NewTimer(patience), time.NewTicker(10*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for strconv.Itoa(status) != want {
		select {
		case <-tick.C:
			status, _, err = request(http.MethodGet, args[0], args[1], "")
		case <-deadline.C:
			ts.Fatalf("waited %s, at last for status %d, error %v", patience, status, err)
		}
	}
}

func request(method, address, path, body string, header ...string) (status int, text string, err error) {
	network := "tcp"
	if socket, ok := strings.CutPrefix(address, unixPrefix); ok {
		network, address = "unix", socket
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	r, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for _, line := range header {
		if name, value, found := strings.Cut(line, ": "); found {
			r.Header.Add(name, value)
		}
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	dump, err := httputil.DumpResponse(answer, true)
	return answer.StatusCode, strings.ReplaceAll(string(dump), "\r\n", "\n"), err
}

// scriptRedis starts a real Redis and sets the variable to its URL, or kills the one that was started under that name.
func scriptRedis(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2 && slices.Contains([]string{"start", "kill"}, args[0]), "redis start|kill VARIABLE")
	started := ts.Value(serversOf{}).(map[string]*redistest.Server)
	if args[0] == "kill" {
		started[args[1]].Kill()
		return
	}
	server := redistest.Start(ts.Value(testOf{}).(testing.TB))
	started[args[1]] = server
	ts.Setenv(args[1], server.URL())
}

// scriptMode checks the permissions of a file, in octal digits.
func scriptMode(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "mode MODE FILE")
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%#o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// scriptStale makes a socket like one that a process left behind that was killed.
func scriptStale(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "stale FILE")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: ts.MkAbs(args[0]), Net: "unix"})
	ts.Check(err)
	listener.SetUnlinkOnClose(false)
	ts.Check(listener.Close())
	info, err := os.Lstat(ts.MkAbs(args[0]))
	ts.Check(err)
	if info.Mode().Type() != fs.ModeSocket {
		ts.Fatalf("%s is no socket", args[0])
	}
}

// scriptRecord starts a server that writes down every request, as it came, and answers 401. The variable is set to its
// address.
func scriptRecord(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "record VARIABLE FILE")
	record, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dump, _ := httputil.DumpRequest(r, true)
		_, _ = record.Write(append(dump, '\n'))
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "{}")
	}))
	ts.Defer(func() {
		server.Close()
		_ = record.Close()
	})
	ts.Setenv(args[0], server.Listener.Addr().String())
}

// scriptSigterm asks every command in the background to end.
func scriptSigterm(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "sigterm")
	for _, command := range ts.BackgroundCmds() {
		ts.Check(command.Process.Signal(syscall.SIGTERM))
	}
}
