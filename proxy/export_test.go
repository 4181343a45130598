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
