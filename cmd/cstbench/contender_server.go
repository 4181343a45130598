package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

	"github.com/labstack/echo/v4"
	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v3"
)

// serveName is the hidden command that runs a server of this program's own.
const serveName = "serve"

// startServer returns what starts such a server, of the kind nameEcho or nameGet, as a process of its own.
func startServer(kind, network string) func(context.Context, *world) (*running, error) {
	return func(ctx context.Context, w *world) (*running, error) {
		name, err := w.unused(kind)
		if err != nil {
			return nil, err
		}
		document := filepath.Join(w.Dir, name+".json")
		if err := os.WriteFile(document, w.Document, 0o600); err != nil {
			return nil, fmt.Errorf("write the document: %w", err)
		}
		address := "127.0.0.1:0"
		if network == "unix" {
			address = filepath.Join(w.Dir, name+".sock")
		}
		p, err := w.spawn(command{Name: name, Path: w.Self, Args: []string{
			serveName, "--network", network, "--address", address, "--redis", w.Redis.Addr, "--document", document, kind,
		}})
		if err != nil {
			return nil, err
		}
		found, err := p.says(ctx, regexp.MustCompile(`listening on (\S+)\n`))
		if err != nil {
			return nil, errors.Join(err, p.Stop())
		}
		return &running{
			Target: target{Network: network, Address: found[1], Path: tokenPath}, Processes: []int{p.Pid}, Stop: p.Stop,
		}, nil
	}
}

// server is the hidden command.
func server(out io.Writer) *cli.Command {
	return &cli.Command{
		Name: serveName, Hidden: true, Usage: "run a server that others are measured by",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "network"}, &cli.StringFlag{Name: "address"},
			&cli.StringFlag{Name: "redis"}, &cli.StringFlag{Name: "document"},
		},
		Action: func(ctx context.Context, c *cli.Command) error {
			handler, err := handlerOf(c)
			if err != nil {
				return err
			}
			return listenAndServe(ctx, c, serving{handler: handler, out: out})
		},
	}
}

// handlerOf returns what answers: the document as it is, or what a plain GET of Redis gives.
func handlerOf(c *cli.Command) (echo.HandlerFunc, error) {
	document, err := os.ReadFile(c.String("document"))
	if err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	if c.Args().First() == nameEcho {
		return func(c echo.Context) error { return c.JSONBlob(http.StatusOK, document) }, nil
	}
	// As many connections as there are callers at most, so that nobody waits for one; the rest is go-redis's default.
	client := redis.NewClient(&redis.Options{Addr: c.String("redis"), PoolSize: mostConnections})
	return func(c echo.Context) error {
		text, err := client.Get(c.Request().Context(), documentPrefix+c.Param("client")).Bytes()
		if err != nil {
			return fmt.Errorf("get the document: %w", err)
		}
		return c.JSONBlob(http.StatusOK, text)
	}, nil
}

type serving struct {
	handler echo.HandlerFunc
	out     io.Writer
}

// listenAndServe serves until ctx ends. There is no middleware, and no time-out: this is the least that Echo can do.
func listenAndServe(ctx context.Context, c *cli.Command, s serving) error {
	listener, err := new(net.ListenConfig).Listen(ctx, c.String("network"), c.String("address"))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	e := echo.New()
	e.GET("/v1/clients/:client/token", s.handler)
	server := &http.Server{Handler: e} //nolint:gosec // time-outs cost, and only the benchmark comes here
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	_, _ = fmt.Fprintf(s.out, "listening on %s\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
