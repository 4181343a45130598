package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

var errUnanswered = errors.New("requests were not answered in time")

// measure is what is timed.
func (g *generator) measure() error {
	if g.traffic.Begin != nil {
		g.traffic.Begin()
	}
	g.begin = time.Now()
	g.end = g.begin.Add(g.traffic.Length)
	begin := g.closed
	if g.traffic.Rate > 0 {
		begin = g.paced
	}
	err := begin()
	if err == nil {
		err = g.drain()
	}
	if g.traffic.End != nil {
		g.traffic.End()
	}
	return err
}

// closed has every peer ask; each asks again when it is answered.
func (g *generator) closed() error {
	for i := range g.peers {
		if err := g.send(i, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// paced has peers ask when it is time to.
func (g *generator) paced() error {
	for i := range g.peers {
		g.free = append(g.free, i)
	}
	return g.sendDue(time.Now())
}

// drain goes on until nobody waits for an answer, and nothing is due any more.
func (g *generator) drain() error {
	events := make([]unix.EpollEvent, len(g.peers)+1)
	for last := g.end.Add(overtime); g.waiting(); {
		if time.Now().After(last) {
			return g.giveUp()
		}
		const wake = 100 // ms, to look whether it takes too long
		n, err := unix.EpollWait(g.epoll, events, wake)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for answers: %w", err)
		}
		if err := g.handle(events[:max(n, 0)]); err != nil {
			return err
		}
	}
	return nil
}

// waiting reports whether something is still to come.
func (g *generator) waiting() bool {
	return g.underway > 0 || g.scheduled() && g.nextDue().Before(g.end)
}

// giveUp ends an open loop that asks for more than can be answered, and counts what was not. Of a closed loop, and of an open
// one that nobody kept waiting, everything must be answered.
func (g *generator) giveUp() error {
	now := time.Now()
	if !g.scheduled() || !g.nextDue().Before(g.end) {
		return fmt.Errorf("%w: %d", errUnanswered, g.underway)
	}
	late := func(since time.Time) {
		g.record(now.Sub(since))
		g.result.Unanswered++
	}
	for i := range g.peers {
		if p := &g.peers[i]; p.busy {
			late(p.since)
		}
	}
	for ; g.nextDue().Before(g.end); g.sent++ {
		late(g.nextDue())
	}
	return nil
}

func (g *generator) handle(events []unix.EpollEvent) error {
	for _, event := range events {
		if event.Fd == timerEvent {
			var times [8]byte
			_, _ = unix.Read(g.timer, times[:]) // that it went off is all there is to know
			continue
		}
		if err := g.receive(int(event.Fd)); err != nil {
			return err
		}
	}
	return g.sendDue(time.Now())
}

// receive takes what came for a peer, and goes on with it if that is all of its answer.
func (g *generator) receive(i int) error {
	p := &g.peers[i]
	n, err := unix.Read(p.fd, p.in[p.got:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("receive: %w", err)
	case n == 0:
		return errClosed
	}
	p.got += n
	body, length, err := readAnswer(p.in[:p.got])
	if err != nil || length == 0 {
		return err
	}
	if length != p.got || !p.busy {
		return fmt.Errorf("%w: more came than was asked for", errMalformed)
	}
	if err := g.traffic.Check(p.path, body); err != nil {
		return err
	}
	return g.answered(i, time.Now())
}

// answered notes an answer that is right, and has the peer ask again.
func (g *generator) answered(i int, now time.Time) error {
	p := &g.peers[i]
	p.got, p.busy = 0, false
	g.underway--
	g.result.Requests++
	early, warming := now.Before(g.end), g.begin.IsZero()
	if !warming {
		g.record(now.Sub(p.since))
	}
	if early && !warming {
		g.result.Within++
	}
	if g.scheduled() {
		g.free = append(g.free, i) // for what is late, too
		return nil
	}
	if !early {
		return nil
	}
	return g.send(i, now)
}

func (g *generator) record(latency time.Duration) {
	g.result.Timed++
	_ = g.result.Latency.RecordValue(min(max(int64(latency), 1), longest)) // within its bounds
}

// send sends the next request.
func (g *generator) send(i int, since time.Time) error {
	p := &g.peers[i]
	p.path, p.busy, p.since = g.turn, true, since
	n, err := unix.Write(p.fd, g.wires[g.turn])
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if n != len(g.wires[g.turn]) { // so little fits into any socket that waits for nothing
		return errClosed
	}
	g.turn = (g.turn + 1) % len(g.wires)
	g.underway++
	return nil
}

// scheduled reports whether this is an open loop, under way.
func (g *generator) scheduled() bool { return g.traffic.Rate > 0 && !g.begin.IsZero() }

// nextDue is when the next request of an open loop is meant to leave.
func (g *generator) nextDue() time.Time { return g.begin.Add(g.traffic.due(g.sent)) }

// sendDue sends what is due in an open loop, as far as there are free peers, and sets the timer for what is not. A request that
// finds no free peer leaves later; its latency counts from when it was meant to leave.
func (g *generator) sendDue(now time.Time) error {
	if !g.scheduled() {
		return nil
	}
	for len(g.free) > 0 && g.nextDue().Before(g.end) {
		due := g.nextDue()
		if due.After(now) {
			return g.wake(due.Sub(now))
		}
		i := g.free[len(g.free)-1]
		g.free = g.free[:len(g.free)-1]
		g.sent++
		if err := g.send(i, due); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) wake(after time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(after))}
	if err := unix.TimerfdSettime(g.timer, 0, &spec, nil); err != nil {
		return fmt.Errorf("set the timer: %w", err)
	}
	return nil
}
