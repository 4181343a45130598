package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Everything in a trace happens at a whole second: what happens in one happens at once.
const (
	secondsOfHour = 60 * 60
	secondsOfDay  = 24 * secondsOfHour
)

// event is one fetch.
type event struct {
	// at is in seconds since the trace began.
	at     int32
	client int32
	// login: the fetch is the first of a visit.
	login bool
}

// habit is how the clients of a pattern come by. Each client's days are drawn from its own seed, so that a day of a trace
// is the same whatever else was drawn.
type habit interface {
	// client returns what is known of one client from the beginning.
	client(dice *rand.Rand) person
	// day adds to visits the seconds of the day, or of those after it, at which the person comes.
	day(p *person, day int, dice *rand.Rand, visits []visit) []visit
}

// person is what a habit knows of a client.
type person struct {
	// zone is how far its clock is behind, in seconds.
	zone int
	// times are those of its usual visits, by its own clock.
	times []int
	// next is when the next burst begins, in seconds since the trace began.
	next int
}

// visit is some fetches, one after the other.
type visit struct {
	at      int
	fetches int
	// gap is the mean time between two of them, in seconds.
	gap float64
}

// trace is all that the clients of a pattern ask for, one day after the other.
type trace struct {
	habit  habit
	seed   uint64
	people []person
	// later are events of days to come.
	later []event
}

func newTrace(habit habit, seed uint64, clients int) *trace {
	t := &trace{habit: habit, seed: seed, people: make([]person, clients)}
	for i := range t.people {
		t.people[i] = habit.client(t.dice(i, -1))
	}
	return t
}

func (t *trace) dice(client, day int) *rand.Rand {
	return rand.New(rand.NewPCG(t.seed+uint64(client), uint64(day+1)))
}

// day returns the events of a day in their order. Days must be asked for one after the other.
func (t *trace) day(day int) []event {
	events, end := t.later, int32((day+1)*secondsOfDay)
	t.later = nil
	source := rand.NewPCG(0, 0)
	dice := rand.New(source)
	var visits []visit
	for i := range t.people {
		source.Seed(t.seed+uint64(i), uint64(day+1))
		visits = t.habit.day(&t.people[i], day, dice, visits[:0])
		for _, v := range visits {
			events = v.unfold(events, event{client: int32(i)}, dice)
		}
	}
	slices.SortFunc(events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.client, b.client), cmp.Compare(rank(b), rank(a)))
	})
	today, _ := slices.BinarySearchFunc(events, end, func(e event, end int32) int { return cmp.Compare(e.at, end) })
	t.later = slices.Clone(events[today:])
	return events[:today]
}

func rank(e event) int {
	if e.login {
		return 1
	}
	return 0
}

// unfold adds the fetches of a visit.
func (v visit) unfold(events []event, e event, dice *rand.Rand) []event {
	at := float64(v.at)
	for i := range v.fetches {
		e.at, e.login = int32(at), i == 0
		events = append(events, e)
		at += 1 + dice.ExpFloat64()*v.gap
	}
	return events
}

// hours of a person's day at which people come by, and how many do.
func diurnal(dice *rand.Rand) int {
	peak := [...]struct{ share, hour, width float64 }{{0.25, 8.5, 1.5}, {0.25, 12.75, 1.5}, {0.5, 20, 2}}
	draw := dice.Float64()
	for _, p := range peak {
		if draw < p.share {
			return wrap(int((p.hour + dice.NormFloat64()*p.width) * secondsOfHour))
		}
		draw -= p.share
	}
	return 0
}

// wrap returns a time of day.
func wrap(second int) int { return ((second % secondsOfDay) + secondsOfDay) % secondsOfDay }

// zones: three parts of the world.
func zone(dice *rand.Rand) int {
	switch draw := dice.Float64(); {
	case draw < 0.6:
		return 0
	case draw < 0.85:
		return 5 * secondsOfHour
	}
	return 18 * secondsOfHour
}

// daily: one to four usual times of the day, kept within three quarters of an hour or so and now and then missed, and
// sometimes a visit at another time.
type daily struct{}

func (daily) client(dice *rand.Rand) person {
	p := person{zone: zone(dice), times: make([]int, 1+pick(dice, 0.15, 0.35, 0.35, 0.15))}
	for i := range p.times {
		p.times[i] = diurnal(dice)
	}
	return p
}

// pick returns the place of a share, drawn by the shares.
func pick(dice *rand.Rand, shares ...float64) int {
	draw := dice.Float64()
	for i, share := range shares {
		if draw < share {
			return i
		}
		draw -= share
	}
	return len(shares) - 1
}

func (daily) day(p *person, day int, dice *rand.Rand, visits []visit) []visit {
	const kept, unusual, width = 0.9, 0.3, 0.75 * secondsOfHour
	for _, usual := range p.times {
		at := usual + int(dice.NormFloat64()*width)
		if dice.Float64() < kept {
			visits = append(visits, p.visit(day, at, dice))
		}
	}
	if dice.Float64() < unusual {
		visits = append(visits, p.visit(day, diurnal(dice), dice))
	}
	return visits
}

// dawn is when the first day of people begins: late enough that who comes early does not come before the trace's does.
const dawn = 6 * secondsOfHour

// visit is one at that second of the person's own day: a few fetches.
func (p *person) visit(day, at int, dice *rand.Rand) visit {
	return visit{at: day*secondsOfDay + dawn + at + p.zone, fetches: 1 + geometric(dice, 1), gap: 10}
}

// geometric draws a number with that mean.
func geometric(dice *rand.Rand, mean float64) int {
	return int(math.Floor(math.Log(1-dice.Float64()) / math.Log(mean/(mean+1))))
}

// weekly: a visit or two a week, at any time.
type weekly struct{}

func (weekly) client(dice *rand.Rand) person { return person{zone: zone(dice)} }

func (weekly) day(p *person, day int, dice *rand.Rand, visits []visit) []visit {
	for range 2 {
		at, come := diurnal(dice), dice.Float64() < 0.75/7
		if come {
			visits = append(visits, p.visit(day, at, dice))
		}
	}
	return visits
}

// bursty: some ten fetches within hours, then days of silence.
type bursty struct{}

const (
	meanSilence = 3 * secondsOfDay
	leastPause  = secondsOfDay / 2
)

func (bursty) client(dice *rand.Rand) person {
	return person{zone: zone(dice), next: int(dice.ExpFloat64() * meanSilence)}
}

func (bursty) day(p *person, day int, dice *rand.Rand, visits []visit) []visit {
	for p.next < (day+1)*secondsOfDay {
		calls := 1 + geometric(dice, 4)
		at := float64(p.next)
		for range calls {
			visits = append(visits, visit{at: int(at), fetches: 1 + geometric(dice, 1), gap: 10})
			at += dice.ExpFloat64() * secondsOfHour
		}
		p.next = int(at) + leastPause + int(dice.ExpFloat64()*meanSilence)
	}
	return visits
}

// launchHour is when a launch begins, by the clocks of people.
const launchHour = 18

// launch: all come for the first time within one hour, and each comes back every day around its own minute of that hour,
// and otherwise like daily.
type launch struct{ daily }

func (l launch) client(dice *rand.Rand) person {
	p := person{times: []int{launchHour*secondsOfHour + dice.IntN(secondsOfHour)}}
	for range pick(dice, 0.4, 0.4, 0.2) {
		p.times = append(p.times, diurnal(dice))
	}
	return p
}

func (l launch) day(p *person, day int, dice *rand.Rand, visits []visit) []visit {
	if day > 0 {
		return l.daily.day(p, day, dice, visits)
	}
	return append(visits, p.visit(day, p.times[0], dice))
}
