package proxy

import "net/http"

// Dismiss has callers let go of their connections to server once this replica drains: each answer is then the last on its
// connection, and says so. A connection that is closed between two requests may be closed under one that is on its way;
// this one never is. The handler stays.
func (h *Health) Dismiss(server *http.Server) {
	handler := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(dismissing{w, h}, r)
	})
}

// dismissing looks as late as it can: a request may come before the drain, and its answer after.
type dismissing struct {
	http.ResponseWriter
	health *Health
}

func (d dismissing) WriteHeader(status int) {
	if d.health.draining.Load() {
		d.Header().Set("Connection", "close")
	}
	d.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] find what it controls.
func (d dismissing) Unwrap() http.ResponseWriter { return d.ResponseWriter }
