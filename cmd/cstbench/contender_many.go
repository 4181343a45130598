package main

import (
	"context"
	"errors"
	"fmt"
)

// many is added to the name of a contender that is asked for many clients in turn, each as often as the others, so that no two
// callers ask for the same one at the same moment: what those could share they don't.
const many = "-many"

// otherClients are so many that this is rare whatever the order of the answers.
const otherClients = 512

func otherID(i int) string { return fmt.Sprintf("cm0r6nkek00ej10dwwx8%05d", i) }

func pathOf(client string) string { return "/v1/clients/" + client + "/token" }

// askedForMany returns what starts a contender that is asked so.
func askedForMany(start func(context.Context, *world) (*running, error)) func(context.Context, *world) (*running, error) {
	return func(ctx context.Context, w *world) (*running, error) {
		if err := w.writeOthers(ctx); err != nil {
			return nil, err
		}
		one, err := start(ctx, w)
		if err == nil {
			one.Target.Many = true
		}
		return one, err
	}
}

// documentsFor returns the documents that a target is to answer, in the order of the paths.
func (w *world) documentsFor(t target) (paths []string, expected []expectation, err error) {
	documents := [][]byte{w.Document}
	if t.Many {
		documents = w.Others
		for i := range documents {
			paths = append(paths, pathOf(otherID(i)))
		}
	}
	for _, document := range documents {
		one, wrong := expect(document)
		expected, err = append(expected, one), errors.Join(err, wrong)
	}
	return paths, expected, err
}
