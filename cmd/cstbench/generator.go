package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// traffic is what a generator asks for: by Connections that each ask again as soon as they are answered, or, with a Rate, at
// moments that are set beforehand, whatever became of the requests before.
type traffic struct {
	Target      target
	Connections int
	// Warm is how long all ask before the load begins, each as soon as it is answered, and once at least.
	Warm, Length time.Duration
	Rate         float64 // requests a second; 0 is the closed loop
	// Paths are asked for in turn; without any it is the target's.
	Paths []string
	// Check is told the index of the path. It judges every body.
	Check func(path int, body []byte) error
	// Begin and End, unless nil, are called right before the first timed request, and after the last is answered.
	Begin, End func()
}

// outcome is what became of a load.
type outcome struct {
	// Requests are all that were answered, those included that warm the connections up; Timed those that have a latency.
	Requests, Timed int
	// Within are those answered before the Length was over.
	Within int
	// Unanswered are those of an open loop that were not answered until long after the end, or never left. Their latency is what
	// they had waited by then.
	Unanswered int
	Latency    *hdrhistogram.Histogram // in ns
}

const (
	longest   = int64(60 * time.Second)
	precision = 3 // digits
)

func newLatency() *hdrhistogram.Histogram { return hdrhistogram.New(1, longest, precision) }

// wire returns the bytes of a request for path.
func (t target) wire(path string) ([]byte, error) {
	var out bytes.Buffer
	header := t.Header.Clone()
	host := header.Get("Host")
	if host == "" {
		host = "localhost"
	}
	header.Del("Host")
	fmt.Fprintf(&out, "GET %s HTTP/1.1\r\nHost: %s\r\n", path, host)
	if err := header.Write(&out); err != nil {
		return nil, fmt.Errorf("write a header: %w", err)
	}
	out.WriteString("\r\n")
	return out.Bytes(), nil
}

// wires returns the bytes of all requests of the load, in turn.
func (t traffic) wires() (all [][]byte, err error) {
	paths := t.Paths
	if len(paths) == 0 {
		paths = []string{t.Target.Path}
	}
	for _, path := range paths {
		text, err := t.Target.wire(path)
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, nil
}

// due is when the request with that number is meant to leave, after the begin.
func (t traffic) due(number int) time.Duration {
	return time.Duration(float64(number) / t.Rate * float64(time.Second))
}
