package portal

import "net/http"

// Transport lets a test look at the client's connections, and under them.
func Transport(c *Client) *http.Transport { return c.transport }

// Earn lets r have that many requests behind it.
func (r *Retry) Earn(requests int) {
	for range requests {
		r.extra.earn()
	}
}
