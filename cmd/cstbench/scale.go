package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v3"
)

// areaScale is how the figures of this part are called.
const areaScale = "scale"

// scaleFigures is what was measured of how cstproxy grows. Quick figures are of so short a run that only the counts in them say
// anything.
type scaleFigures struct {
	Quick    bool             `json:"quick,omitempty"`
	Machine  machine          `json:"machine"`
	Rounds   int              `json:"rounds"`
	Bytes    bytesFigures     `json:"bytes"`
	Clients  []clientsFigures `json:"clients"`
	Replicas []fleetFigures   `json:"replicas"`
	Starts   []startFigures   `json:"starts"`
	Memory   memoryFigures    `json:"memory"`
	Features []featureFigures `json:"features"`
}

// scaleSize is how much is measured.
type scaleSize struct {
	// Clients is how many there are in Redis and in memory at the most, Working how many of them are asked for.
	Clients int
	Working []int
	// Minted is how many tokens are minted to weigh what a mint leaves.
	Minted int
	// Replicas is how many there are on one Redis, Fetches how often each is asked, Mints how often of a client that is new.
	Replicas       []int
	Fetches, Mints int
	// IdleSeconds is how long it is watched what processes do that nobody asks.
	IdleSeconds int
	// Starts is how often each way to start is, Rounds how often each slice is, Slice how many fetches each has.
	Starts, Rounds, Slice int
	// Features is how many of them are set against each other, the first ones.
	Features int
}

func fullScale() scaleSize {
	return scaleSize{
		Clients: 1_000_000, Working: []int{1_000, 100_000, 1_000_000}, Minted: 10_000,
		Replicas: []int{1, 2, 4, 8}, Fetches: 1_000, Mints: 50, IdleSeconds: 20, Starts: 25, Rounds: 60, Slice: 4_000, Features: 9,
	}
}

func quickScale() scaleSize {
	return scaleSize{
		Clients: 2_000, Working: []int{100, 2_000}, Minted: 100,
		Replicas: []int{1, 2}, Fetches: 50, Mints: 5, IdleSeconds: 1, Starts: 2, Rounds: 2, Slice: 100, Features: 4,
	}
}

// scaling is the command that measures how cstproxy grows with clients, replicas and features.
func scaling(out io.Writer) *cli.Command {
	return &cli.Command{
		Name:  areaScale,
		Usage: "measure bytes for a token, clients by the million, replicas on one Redis, start-up, memory, and what each feature costs",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "quick", Usage: "measure so little that only counts are right, for a test"},
			&cli.IntFlag{Name: "rounds", Usage: "take each slice `N` times, instead of 60"},
			&cli.StringFlag{Name: "cstproxy", Usage: "the cstproxy to measure, a `FILE`; unless set, one is built"},
		},
		Action: func(ctx context.Context, c *cli.Command) (err error) {
			size := fullScale()
			if c.Bool("quick") {
				size = quickScale()
			}
			if c.IsSet("rounds") {
				size.Rounds = max(1, c.Int("rounds"))
			}
			w, err := newWorld(ctx, c.String("cstproxy"))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, w.Close()) }()
			figures, err := measureScale(ctx, &scaleRun{world: w, size: size, out: out})
			if err != nil {
				return err
			}
			figures.Quick, figures.Machine, figures.Rounds = c.Bool("quick"), describeMachine(ctx), size.Rounds
			return save(c.String("results"), areaScale, figures)
		},
	}
}

// scaleRun is one measurement of this part.
type scaleRun struct {
	*world
	size scaleSize
	// out is told how far it is.
	out io.Writer
}

// measureScale measures one thing after the other: none runs beside another.
func measureScale(ctx context.Context, r *scaleRun) (figures scaleFigures, err error) {
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"start-up", func() error { figures.Starts, err = r.measureStarts(ctx); return err }},
		{"idle memory", func() error { figures.Memory, err = r.measureMemory(ctx); return err }},
		{"replicas", func() error { figures.Replicas, err = r.measureReplicas(ctx); return err }},
		{"features", func() error { figures.Features, err = r.measureFeatures(ctx); return err }},
		{"bytes", func() error { figures.Bytes, err = r.measureBytes(ctx); return err }},
		{"clients", func() error { figures.Clients, err = r.measureClients(ctx); return err }},
	} {
		_, _ = fmt.Fprintf(r.out, "scale: %s\n", step.name)
		if err := step.do(); err != nil {
			return figures, fmt.Errorf("measure %s: %w", step.name, err)
		}
	}
	return figures, nil
}
