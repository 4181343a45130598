package proxy

// Routes returns every route as "METHOD path".
func (s *Server) Routes() []string {
	var routes []string
	for _, r := range s.echo.Routes() {
		routes = append(routes, r.Method+" "+r.Path)
	}
	return routes
}

// Statuses returns the status of every problem.
func Statuses() []int {
	var statuses []int
	for _, p := range problems {
		statuses = append(statuses, p.status)
	}
	return statuses
}

// ParsePlain returns what is read of a request that may be a hit.
func ParsePlain(text []byte) (client, host, id string, ok bool) {
	p, ok := parsePlain(text)
	return string(p.client), string(p.host), string(p.id), ok
}
