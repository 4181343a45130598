package cache_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// unfaithful is a proxy in front of a server that mixes up the replies to commands it is asked to. It knows what every reply
// was to, so it knows how many wrong ones it gave.
type unfaithful struct {
	listener net.Listener
	server   string
	group    sync.WaitGroup
	// pick says what becomes of the reply to a request.
	pick func(request string) fault

	// wrong counts the replies that were given to another key's request, delayed those that came too late.
	wrong, delayed, swaps, shifts atomic.Int64
	// waiting is the reply that is to be swapped for the next.
	waiting chan *parcel

	mu    sync.Mutex
	conns []net.Conn
}

type fault int

const (
	faithful fault = iota
	// swapped: two connections get each other's reply.
	swapped
	// late: it comes when nobody waits for it any more.
	late
	// shifted: it comes twice, and from then on each request of the connection gets the reply to the one before.
	shifted
)

// parcel is a reply on its way to another connection.
type parcel struct {
	key, reply string
	back       chan *parcel
}

func startUnfaithful(t *testing.T, server *redistest.Server, pick func(request string) fault) *unfaithful {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	u := &unfaithful{listener: listener, server: server.Addr(), pick: pick, waiting: make(chan *parcel)}
	u.group.Go(u.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		u.mu.Lock()
		for _, conn := range u.conns {
			_ = conn.Close()
		}
		u.mu.Unlock()
		u.group.Wait()
	})
	return u
}

func (u *unfaithful) URL() string { return "redis://" + u.listener.Addr().String() }

func (u *unfaithful) serve() {
	for {
		client, err := u.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", u.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		u.mu.Lock()
		u.conns = append(u.conns, client, server)
		u.mu.Unlock()
		u.group.Go(func() {
			u.carry(client, server)
			_ = client.Close()
			_ = server.Close()
		})
	}
}

// carry passes on one request after the other, and some reply to each.
func (u *unfaithful) carry(client, server net.Conn) {
	requests, replies := bufio.NewReader(client), bufio.NewReader(server)
	var held *parcel // once the connection is out of step: what comes next
	for {
		request, err := readValue(requests)
		if err != nil {
			return
		}
		if _, err := server.Write([]byte(request)); err != nil {
			return
		}
		reply, err := readValue(replies)
		if err != nil {
			return
		}
		mine := &parcel{key: keyIn(request), reply: reply}
		given := mine
		switch what := u.pick(request); {
		case held != nil:
			given, held = held, mine
		case what == swapped:
			given = u.swap(mine)
		case what == late:
			u.delayed.Add(1)
			<-time.After(200 * time.Millisecond)
		case what == shifted:
			u.shifts.Add(1)
			held = mine
		}
		if _, err := client.Write([]byte(given.reply)); err != nil {
			return
		}
		if given.key != mine.key {
			u.wrong.Add(1)
		}
	}
}

// swap returns what another connection was to get, or mine if there is none soon.
func (u *unfaithful) swap(mine *parcel) *parcel {
	mine.back = make(chan *parcel, 1)
	select {
	case theirs := <-u.waiting:
		u.swaps.Add(1)
		theirs.back <- mine
		return theirs
	default:
	}
	select {
	case u.waiting <- mine:
		return <-mine.back
	case <-time.After(10 * time.Millisecond):
		return mine
	}
}

// keyIn returns the first key of a request: that of a GET, or of a script.
func keyIn(request string) string {
	words := strings.Split(request, "\r\n")
	at := map[string]int{"get": 4, "evalsha": 8}[strings.ToLower(words[min(2, len(words)-1)])]
	if at == 0 || at >= len(words) {
		return ""
	}
	return words[at]
}

// readValue reads one value of Redis's protocol, as it came.
func readValue(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	parts := 0
	switch line[0] {
	case '$', '=', '!':
		if n < 0 {
			return line, nil
		}
		bulk := make([]byte, n+2)
		_, err := io.ReadFull(r, bulk)
		return line + string(bulk), err
	case '*', '~', '>':
		parts = n
	case '%':
		parts = 2 * n
	}
	var all bytes.Buffer
	all.WriteString(line)
	for range parts {
		part, err := readValue(r)
		if err != nil {
			return "", err
		}
		all.WriteString(part)
	}
	return all.String(), nil
}

// counting returns a Redis on target, and how many unreadable replies it counted.
func counting(tb testing.TB, target string, seals ...*cache.Seal) (*cache.Redis, *atomic.Int64) {
	tb.Helper()
	var unreadable atomic.Int64
	parts := partsOf(connect(tb, target), "p", &cache.Changes{})
	for _, seal := range seals {
		parts.Seal = seal
	}
	parts.Unreadable = func() { unreadable.Add(1) }
	store := cache.NewRedis(parts)
	reach(tb, store, alice)
	return store, &unreadable
}

func TestNoReadGetsAnotherClientsTokenWhateverBecomesOfReplies(t *testing.T) {
	t.Parallel()
	const reads, readers, clients = 10_000, 8, 50
	server := redistest.Start(t)
	direct := open(t, server.URL(), "p")
	tokens := make([]session.Token, clients)
	for i := range tokens {
		tokens[i] = newToken(newClient())
		save(t, direct, tokens[i])
	}
	// What it is reached with is of a client who has no token: given to another's read, that could not be told from the truth.
	var reached atomic.Bool
	u := startUnfaithful(t, server, func(request string) fault {
		if !reached.Load() || !strings.Contains(request, ":token\r\n") {
			return faithful
		}
		switch n := rand.IntN(1000); {
		case n < 20:
			return swapped
		case n < 25:
			return late
		case n < 35:
			return shifted
		}
		return faithful
	})
	store, counted := counting(t, u.URL())
	reached.Store(true)

	var foreign, refused, failed, right atomic.Int64
	var group sync.WaitGroup
	for range readers {
		group.Go(func() {
			for range reads / readers {
				want := tokens[rand.IntN(clients)]
				got, err := store.Load(t.Context(), want.Client)
				switch {
				case errors.Is(err, session.ErrRecordUnreadable):
					refused.Add(1)
				case err != nil:
					failed.Add(1)
				case got.Secret.Equal(want.Secret) && got.Client == want.Client:
					right.Add(1)
				default:
					foreign.Add(1)
				}
			}
		})
	}
	group.Wait()
	wrong := u.wrong.Load()
	t.Logf("%d reads: %d right, %d refused, %d timed out; %d pairs swapped, %d replies late, %d connections out of step: "+
		"%d replies were another key's, %d were counted, %d tokens of another client",
		reads, right.Load(), refused.Load(), failed.Load(), u.swaps.Load(), u.delayed.Load(), u.shifts.Load(),
		wrong, counted.Load(), foreign.Load())
	if foreign.Load() != 0 {
		t.Errorf("%d reads got another client's token", foreign.Load())
	}
	if u.swaps.Load() < 10 || u.delayed.Load() < 10 || u.shifts.Load() < 10 {
		t.Error("hardly anything went wrong, so it shows nothing")
	}
	// What came too late was given to nobody.
	if n := counted.Load(); n != refused.Load() || n > wrong || wrong-n > failed.Load() {
		t.Errorf("%d replies were another key's, %d reads refused one and %d failed; counted were %d", wrong, refused.Load(), failed.Load(), n)
	}
	// A connection that is out of step may be swapped as well. One that were kept would give wrong replies to the end.
	if perConnection := wrong - 2*u.swaps.Load(); perConnection > 2*u.shifts.Load() {
		t.Errorf("%d connections that were out of step gave %d wrong replies: they were not let go of", u.shifts.Load(), perConnection)
	}
}

func TestConnectionOutOfStepGivesOneWrongReplyAndIsLetGoOf(t *testing.T) {
	t.Parallel()
	type call func(*testing.T, *cache.Redis) error
	token := newToken(alice)
	load := call(func(t *testing.T, store *cache.Redis) error {
		_, err := store.Load(t.Context(), alice)
		return err
	})
	loadAnother := call(func(t *testing.T, store *cache.Redis) error {
		_, err := store.Load(t.Context(), newClient())
		return err
	})
	acquire := call(func(t *testing.T, store *cache.Redis) error {
		_, err := store.Acquire(t.Context(), newClient(), "me")
		return err
	})
	claim := call(func(t *testing.T, store *cache.Redis) error {
		claim := session.Claim{Registration: session.Registration{Key: string(newClient())}, Owner: "me", Hold: time.Minute}
		_, err := store.Claim(t.Context(), claim)
		return err
	})
	slide := call(func(t *testing.T, store *cache.Redis) error {
		_, err := store.Slide(t.Context(), session.Move{Client: newClient(), ID: token.ID, At: time.Now()})
		return err
	})
	commit := call(func(t *testing.T, store *cache.Redis) error {
		_, err := store.Commit(t.Context(), newToken(newClient()), 0)
		return err
	})
	for name, c := range map[string]struct{ first, second call }{
		"a load after another's":   {load, loadAnother},
		"a commit after another's": {commit, commit},
		"a commit after a slide":   {slide, commit},
		"a slide after a load":     {load, slide},
		"a lease after another's":  {acquire, acquire},
		"a lease after a load":     {load, acquire},
		"a claim after another's":  {claim, claim},
		"a claim after a lease":    {acquire, claim},
		"a load after a commit":    {commit, load},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story := func() (slow bool) {
				var armed atomic.Bool
				u := startUnfaithful(t, redistest.Start(t), func(string) fault {
					if armed.CompareAndSwap(true, false) {
						return shifted
					}
					return faithful
				})
				store, counted := counting(t, u.URL()+"?pool_size=1")
				_, saved := store.Commit(t.Context(), token, 0)
				faults := []error{saved, c.first(t, store), c.second(t, store)} // so that Redis knows the scripts
				armed.Store(true)
				faults = append(faults, c.first(t, store))
				wrong := c.second(t, store)
				once := counted.Load()
				for range 3 {
					faults = append(faults, c.first(t, store), c.second(t, store), load(t, store))
				}
				if tooSlow(append(faults, wrong)...) {
					return true
				}
				if err := errors.Join(faults...); err != nil {
					t.Errorf("what was asked before, or after: %v", err)
				}
				if wrong == nil {
					t.Error("it took the reply to another question")
				}
				if n := counted.Load(); once != 1 || n != 1 {
					t.Errorf("%d unreadable replies were counted, then %d; want 1, and the fault not to go on", once, n)
				}
				return false
			}
			for range 5 {
				if !story() {
					return
				}
			}
			t.Error("Redis was too slow, five times")
		})
	}
}

// tooSlow reports whether one of errs says that Redis, or this machine, took longer than a call may.
func tooSlow(errs ...error) bool {
	return slices.ContainsFunc(errs, func(err error) bool {
		network, ok := errors.AsType[net.Error](err)
		return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, redis.ErrPoolTimeout) || ok && network.Timeout()
	})
}
