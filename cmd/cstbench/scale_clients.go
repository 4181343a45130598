package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// clientsFigures is what a fetch costs where so many clients are asked for at random, by where their tokens are found. All are
// ratios to the fewest clients.
type clientsFigures struct {
	Clients int `json:"clients"`
	// Grant is the time of a grant in the process: without HTTP, and for one in memory that is mostly the memory of the machine.
	MemoryGrant ratio `json:"memoryGrant"`
	RedisGrant  ratio `json:"redisGrant"`
	// Processor is the processor time of the proxy's process for a fetch over HTTP, Mean that of all fetches together, with
	// whatever the garbage collector took between them, and Wait what callers wait for the median one.
	Memory httpFigures `json:"memory"`
	Redis  httpFigures `json:"redis"`
	// ResidentMiB is the memory of the process that remembers all of them.
	ResidentMiB float64 `json:"residentMiB"`
}

type httpFigures struct {
	Processor ratio   `json:"processor"`
	Mean      float64 `json:"mean"`
	Wait      ratio   `json:"wait"`
}

// crowd is some clients, and those who serve them.
type crowd struct {
	clients       int
	memory, redis *asked
	remembered    *served
	looked        *served
	took          map[string][]float64
}

// measureClients finds the tokens in Redis that measureBytes left there.
func (r *scaleRun) measureClients(ctx context.Context) (all []clientsFigures, err error) {
	store, err := openKept(ctx, r.world)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var crowds []*crowd
	defer func() {
		for _, c := range crowds {
			err = errors.Join(err, c.end(ctx))
		}
	}()
	for _, n := range r.size.Working {
		c := &crowd{clients: n, took: map[string][]float64{}}
		crowds = append(crowds, c)
		if err := c.gather(ctx, r, store); err != nil {
			return nil, fmt.Errorf("%d clients: %w", n, err)
		}
	}
	for _, c := range crowds {
		const connections = 8
		if err := errors.Join(c.memory.connect(ctx, connections), c.redis.connect(ctx, connections)); err != nil {
			return nil, err
		}
	}
	for range r.size.Rounds {
		shuffle(crowds)
		for _, c := range crowds {
			err = errors.Join(err, ctx.Err(), c.round(ctx, r.size.Slice))
		}
	}
	if err != nil {
		return nil, err
	}
	return r.compare(crowds)
}

// compare puts crowds in their order, and sets each against the first.
func (r *scaleRun) compare(crowds []*crowd) (all []clientsFigures, err error) {
	of := map[int]*crowd{}
	for _, c := range crowds {
		of[c.clients] = c
	}
	base := of[r.size.Working[0]]
	for _, n := range r.size.Working {
		f, err := of[n].figures(base)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// gather starts who serves, and has each replica asked for every client once: whom it has yet to see it answers through net/http,
// and how a replica begins is not what is measured.
func (c *crowd) gather(ctx context.Context, r *scaleRun, store *kept) (err error) {
	entries := "CSTPROXY_MEMORY_ENTRIES=" + strconv.Itoa(c.clients)
	name := "crowd-" + strconv.Itoa(c.clients)
	const quiet = "CSTPROXY_LOG_LEVEL=warn"
	if c.redis, err = r.start(ctx, name+"-redis", entries, "CSTPROXY_MEMORY_TTL=0", quiet); err != nil {
		return err
	}
	if c.memory, err = r.start(ctx, name, entries, "CSTPROXY_MEMORY_TTL=1h", quiet); err != nil {
		return err
	}
	for _, a := range []*asked{c.redis, c.memory} {
		if err := a.meet(ctx, c.clients); err != nil {
			return err
		}
	}
	c.remembered = serveInProcess(store, inProcess{entries: c.clients})
	c.looked = serveInProcess(store, inProcess{entries: c.clients, ttl: time.Nanosecond})
	return inParallel(ctx, c.clients, func(number int) error { return c.remembered.grant(ctx, number) })
}

// meet asks for each of so many clients once.
func (a *asked) meet(ctx context.Context, clients int) error {
	if err := a.connect(ctx, fillers); err != nil {
		return err
	}
	return inParallel(ctx, clients, func(number int) error { return a.connections[number%fillers].ask(number) })
}

func (c *crowd) end(ctx context.Context) (err error) {
	for _, a := range []*asked{c.memory, c.redis} {
		if a != nil {
			err = errors.Join(err, a.end())
		}
	}
	for _, s := range []*served{c.remembered, c.looked} {
		if s != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}
	return err
}

// round takes a slice of each way to fetch.
func (c *crowd) round(ctx context.Context, fetches int) error {
	pick := anyOf(c.clients)
	for name, a := range map[string]*asked{"memory": c.memory, "redis": c.redis} {
		s, err := a.fetch(fetches, pick)
		if err != nil {
			return fmt.Errorf("%d clients, %s: %w", c.clients, name, err)
		}
		c.took[name+" processor"] = append(c.took[name+" processor"], float64(s.processor))
		c.took[name+" wait"] = append(c.took[name+" wait"], float64(s.wait))
	}
	for name, s := range map[string]*served{"memory": c.remembered, "redis": c.looked} {
		n := fetches
		if name == "memory" {
			n *= 5 // one takes so little
		}
		took, err := s.grants(ctx, n, pick)
		if err != nil {
			return fmt.Errorf("%d clients, %s: %w", c.clients, name, err)
		}
		c.took[name+" grant"] = append(c.took[name+" grant"], float64(took))
	}
	return nil
}

// grants returns what one of n grants took.
func (s *served) grants(ctx context.Context, n int, pick func() int) (time.Duration, error) {
	began := time.Now()
	for range n {
		if err := s.grant(ctx, pick()); err != nil {
			return 0, err
		}
	}
	return time.Since(began) / time.Duration(n), nil
}

func (c *crowd) figures(base *crowd) (f clientsFigures, err error) {
	against := func(what string) ratio { return ratioOf(c.took[what], base.took[what]) }
	overHTTP := func(where string) httpFigures {
		return httpFigures{
			Processor: against(where + " processor"), Wait: against(where + " wait"),
			Mean: sum(c.took[where+" processor"]) / sum(base.took[where+" processor"]),
		}
	}
	memory, err := residentOf(c.memory.Processes[0])
	return clientsFigures{
		Clients: c.clients, MemoryGrant: against("memory grant"), RedisGrant: against("redis grant"),
		Memory: overHTTP("memory"), Redis: overHTTP("redis"), ResidentMiB: memory.now,
	}, err
}
