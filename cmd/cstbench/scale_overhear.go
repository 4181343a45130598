package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// overheard returns which commands come to Redis, and how often, while do is done. Redis shows them one by one (MONITOR), with
// a mark on those of scripts, which are no round trips and not counted.
func (r *scaleRun) overheard(ctx context.Context, do func() error) (commands map[string]int, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", r.Redis.Socket)
	if err != nil {
		return nil, fmt.Errorf("connect to Redis: %w", err)
	}
	defer func() { _ = conn.Close() }()
	lines := bufio.NewScanner(conn)
	if _, err := fmt.Fprint(conn, "MONITOR\r\n"); err != nil || !lines.Scan() || lines.Text() != "+OK" {
		return nil, fmt.Errorf("watch Redis: %w: %s", errors.Join(err, lines.Err()), lines.Text())
	}
	end := "end " + strconv.FormatInt(time.Now().UnixNano(), 10)
	done := make(chan error, 1)
	go func() {
		err := do()
		done <- errors.Join(err, r.Redis.Client.Echo(context.WithoutCancel(ctx), end).Err())
	}()
	commands = map[string]int{}
	for lines.Scan() && !strings.Contains(lines.Text(), end) {
		if name := commandOf(lines.Text()); name != "" {
			commands[name]++
		}
	}
	return commands, errors.Join(<-done, lines.Err())
}

// commandOf returns the command of a line of MONITOR, with the kind of key that it is about; "" for one within a script, and for
// those by which a connection introduces itself. A line is
//
//	+1764320000.123456 [0 127.0.0.1:41234] "get" "cstproxy:{…}:token"
func commandOf(line string) string {
	_, rest, found := strings.Cut(line, " [")
	from, rest, sent := strings.Cut(rest, "] ")
	if !found || !sent || strings.HasSuffix(from, " lua") {
		return ""
	}
	words := strings.Fields(strings.ToLower(rest))
	name := strings.Trim(words[0], `"`)
	switch name {
	case "hello", "client":
		return ""
	case "evalsha", "eval":
		if len(words) < 4 {
			return name
		}
		return name + " " + strings.Trim(words[1], `"`)[:6] + " " + kindOf(words[3])
	}
	if len(words) > 1 {
		name += " " + kindOf(words[1])
	}
	return name
}

// kindOf is the end of a key, behind the last colon.
func kindOf(key string) string {
	key = strings.Trim(key, `"`)
	return key[strings.LastIndexByte(key, ':')+1:]
}
