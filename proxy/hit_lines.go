package proxy

// emptyLines counts the empty lines in requests, as net/http sees them.
type emptyLines struct {
	count int
	// line is how long the last line is as yet, bare that it is no more than a \r.
	line int
	bare bool
	// after: nothing follows the last empty line.
	after bool
}

func (e *emptyLines) add(text []byte) {
	for _, c := range text {
		e.after = c == '\n' && (e.line == 0 || e.bare)
		switch {
		case e.after:
			e.count++
			fallthrough
		case c == '\n':
			e.line, e.bare = 0, false
		default:
			e.bare = e.line == 0 && c == '\r'
			e.line++
		}
	}
}

// ends reports whether what was added is so many requests whose answers are written, and nothing else: each has an empty line
// at least, so that there is none besides, and none but the last may have a body.
func (e *emptyLines) ends(answered int) bool { return e.after && e.count == answered }
