package cache

import (
	"context"
	"io"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestLookThatGotNoConnectionSaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker()
		for range failuresToOpen {
			time.Sleep(time.Millisecond)
			_ = b.guard(t.Context(), redis.NewCmd(t.Context(), "ping"), func() error { return io.EOF })
		}
		if !b.IsOpen() {
			t.Fatal("the breaker is closed")
		}
		_ = b.guard(past(t.Context()), redis.NewCmd(t.Context(), "ping"), func() error { return redis.ErrPoolTimeout })
		if !b.IsOpen() {
			t.Error("it closed")
		}
		_ = b.guard(past(t.Context()), redis.NewCmd(t.Context(), "ping"), func() error { return redis.Nil })
		if b.IsOpen() {
			t.Error("an answer left it open")
		}
	})
}

func TestTimeOutOfAProcessThatHadNoTimeToReadSaysNothing(t *testing.T) {
	t.Parallel()
	for took, opens := range map[time.Duration]bool{opTimeout: true, opTimeout * 11 / 10: true, opTimeout * 3 / 2: false, time.Second: false} {
		t.Run(took.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := NewBreaker()
				for range failuresToOpen {
					time.Sleep(took + time.Millisecond)
					b.note(t.Context(), time.Now().Add(-took), context.DeadlineExceeded)
				}
				if b.IsOpen() != opens {
					t.Errorf("open = %t, want %t", b.IsOpen(), opens)
				}
			})
		})
	}
}

// A process that is strained all the time does not wait for a hung Redis all the time.
func TestTimeOutsCountWhereRedisSaysNothingForLong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hears bool
		opens bool
	}{
		"it says nothing":             {opens: true},
		"it says something meanwhile": {hears: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const took = 2 * opTimeout
				b := NewBreaker()
				for began := time.Now(); time.Since(began) < excusedFor+failuresToOpen*(took+time.Millisecond); {
					time.Sleep(took + time.Millisecond)
					if c.hears {
						b.note(t.Context(), time.Now(), nil)
					}
					b.note(t.Context(), time.Now().Add(-took), context.DeadlineExceeded)
				}
				if b.IsOpen() != c.opens {
					t.Errorf("open = %t, want %t", b.IsOpen(), c.opens)
				}
			})
		})
	}
}

func TestARefusedConnectionCountsHoweverLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker()
		for range failuresToOpen {
			time.Sleep(2 * time.Second)
			b.note(t.Context(), time.Now().Add(-time.Second), syscall.ECONNREFUSED)
		}
		if !b.IsOpen() {
			t.Error("the breaker is closed")
		}
	})
}

// A crowd in this process keeps answers from being read as much as a machine that stands still.
func TestProcessIsStrainedByACrowdOfItsOwn(t *testing.T) {
	var ran, crowd sync.WaitGroup
	done := make(chan struct{})
	work := func() (more bool) {
		for began := time.Now(); time.Since(began) < 2*time.Millisecond; {
			continue
		}
		runtime.Gosched()
		select {
		case <-done:
			return false
		default:
			return true
		}
	}
	for range 100 * runtime.GOMAXPROCS(0) {
		ran.Add(1)
		crowd.Go(func() {
			work()
			ran.Done()
			for work() {
				continue
			}
		})
	}
	ran.Wait()
	if !strained(time.Now()) {
		t.Error("it is not, with a hundred to run for each processor")
	}
	close(done)
	crowd.Wait()
}
