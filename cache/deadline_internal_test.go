package cache

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type valueOf struct{}

func TestEndsOfThoseWhoNeverLeaveAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ends deadlines
		forever := context.WithValue(context.WithoutCancel(t.Context()), valueOf{}, "a")
		first, _ := ends.bound(forever)
		time.Sleep(shareFor)
		second, _ := ends.bound(context.WithValue(forever, valueOf{}, "b"))
		time.Sleep(time.Nanosecond)
		third, _ := ends.bound(forever)
		if first.Done() != second.Done() || first.Done() == third.Done() {
			t.Error("an end is not shared by those who begin within a tenth of it, or by others")
		}
		if first.Value(valueOf{}) != "a" || second.Value(valueOf{}) != "b" {
			t.Error("the values are another's")
		}
		child, cancel := context.WithTimeout(second, time.Hour)
		defer cancel()
		begun := time.Now()
		<-child.Done()
		if took := time.Since(begun); took != opTimeout-shareFor-1 {
			t.Errorf("it ended after %v, want %v after it began", took, opTimeout)
		}
		if !errors.Is(second.Err(), context.DeadlineExceeded) || third.Err() != nil {
			t.Errorf("ended with %v and %v", second.Err(), third.Err())
		}
	})
}

func TestSharedEndGoesWithTheLastWhoNeedsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ends deadlines
		forever := context.WithoutCancel(t.Context())
		first, firstOver := ends.bound(forever)
		second, secondOver := ends.bound(forever)
		firstOver()
		time.Sleep(2 * shareFor)
		third, thirdOver := ends.bound(forever)
		if second.Err() != nil {
			t.Error("an end is gone while a call needs it")
		}
		secondOver()
		if first.Err() == nil || second.Err() == nil {
			t.Error("an end stays that nobody needs")
		}
		thirdOver()
		fourth, _ := ends.bound(forever)
		if third.Done() != fourth.Done() || fourth.Err() != nil {
			t.Error("the latest end is gone though it is to be given out")
		}
	})
}

// Calls come and go at once, while ends are replaced.
func TestNoSharedEndComesWhileACallNeedsIt(t *testing.T) {
	t.Parallel()
	var ends deadlines
	forever := context.WithoutCancel(t.Context())
	var callers sync.WaitGroup
	var seen sync.Map
	for range 8 {
		callers.Go(func() {
			for begun := time.Now(); time.Since(begun) < 10*shareFor; {
				ctx, over := ends.bound(forever)
				runtime.Gosched()
				if err := ctx.Err(); err != nil {
					t.Errorf("ended under a call: %v", err)
				}
				seen.Store(ctx.Done(), ctx)
				over()
			}
		})
	}
	callers.Wait()
	n, latest := 0, ends.latest.Load().Done()
	for done, ctx := range seen.Range {
		n++
		if ctx := ctx.(context.Context); (ctx.Err() == nil) != (done == latest) { //nolint:forcetypeassert // it was stored as one
			t.Errorf("%v, and it is the latest: %t", ctx.Err(), done == latest)
		}
	}
	if n < 5 {
		t.Errorf("%d ends show nothing", n)
	}
}

func TestEndOfWhoMayLeaveIsTheirOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ends deadlines
		leaving, leave := context.WithCancel(t.Context())
		one, cancel := ends.bound(leaving)
		defer cancel()
		another, over := ends.bound(leaving)
		over()
		if one.Err() != nil || another.Err() == nil {
			t.Errorf("one call is over: %v, and the other %v", another.Err(), one.Err())
		}
		if end, ok := one.Deadline(); !ok || time.Until(end) != opTimeout {
			t.Errorf("it ends %v from now, want %v", time.Until(end), opTimeout)
		}
		leave()
		if one.Err() == nil {
			t.Error("who left is still there")
		}
	})
}
