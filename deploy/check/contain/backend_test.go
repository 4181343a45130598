package contain

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const backendCommand = "backend"

// runBackend is an app that uses the proxy. It fetches tokens and ends; with -serve it goes on until SIGTERM, and then for
// -late, and once more. It says how many requests it made and lost, and exits 1 if one was lost.
func runBackend(args []string) int {
	flags := flag.NewFlagSet(backendCommand, flag.ExitOnError)
	network := flags.String("network", "tcp", "")
	address := flags.String("address", data, "")
	tokens := flags.Int("tokens", 20, "")
	serve := flags.Bool("serve", false, "")
	late := flags.Duration("late", 0, "")
	_ = flags.Parse(args)
	caller := &pooled{network: *network, address: *address}
	defer caller.close()
	made, lost := 0, 0
	fetch := func() {
		made++
		if err := caller.fetch(fmt.Sprintf("backend-%03d", made%*tokens)); err != nil {
			caller.close()
			lost++
			fmt.Println("lost:", err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for range *tokens {
		fetch()
	}
	fmt.Println("begun")
	for *serve && ctx.Err() == nil {
		fetch()
	}
	if *serve {
		for until := time.Now().Add(*late); time.Now().Before(until) && lost < 5; {
			fetch()
		}
		fetch()
	}
	fmt.Printf("made %d, lost %d\n", made, lost)
	if lost > 0 {
		return 1
	}
	return 0
}

// pooled asks over one connection as long as that is left open, and repeats nothing: a request that gets no answer is lost.
type pooled struct {
	network, address string
	conn             net.Conn
	reader           *bufio.Reader
}

// fetch asks as a backend asks Portal itself, which no HTTP client may repeat by itself.
func (p *pooled) fetch(client string) error {
	if p.conn == nil {
		conn, err := net.DialTimeout(p.network, p.address, patience)
		if err != nil {
			return err
		}
		p.conn, p.reader = conn, bufio.NewReader(conn)
	}
	_ = p.conn.SetDeadline(time.Now().Add(patience))
	const request = "POST /api/v1/custodians/clients/%s/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
	if _, err := fmt.Fprintf(p.conn, request, client); err != nil {
		return err
	}
	response, err := http.ReadResponse(p.reader, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", response.StatusCode, body)
	}
	if response.Close {
		p.close()
	}
	return nil
}

func (p *pooled) close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}

// fetchAll fetches a token of each of the clients, over so many connections, and returns what was lost.
func fetchAll(connections, clients int, prefix string) error {
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range clients {
			next <- i
		}
	}()
	var mu sync.Mutex
	var lost []error
	var group sync.WaitGroup
	for range connections {
		group.Go(func() {
			caller := &pooled{network: "tcp", address: data}
			defer caller.close()
			for i := range next {
				err := caller.fetch(fmt.Sprintf("%s-%05d", prefix, i))
				if err == nil {
					continue
				}
				caller.close()
				mu.Lock()
				lost = append(lost, err)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return errors.Join(lost[:min(len(lost), 5)]...)
}
