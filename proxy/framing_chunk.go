package proxy

// Bodies in chunks are followed only to find where they end. What net/http finds wrong with one ends its connection.

func (s *scan) newChunk() { s.part, s.digits, s.size = partChunk, 0, 0 }

// chunk takes a byte of the line before a chunk.
func (s *scan) chunk(b byte) {
	if b == '\n' {
		s.endChunkLine()
		return
	}
	value, hex := hexDigit(b)
	switch {
	case s.part == partExtension:
	case !hex:
		s.part = partExtension
	case value == 0 && s.size == 0:
		s.digits = 1 // however many zeros lead
	default:
		s.digits++
		s.size = s.size<<4 | value
	}
}

func (s *scan) endChunkLine() {
	const most, end = 15, int64(len("\r\n")) // digits of a number that can be added to
	switch {
	case s.digits == 0 || s.digits > most:
		s.part = partLost
	case s.size == 0:
		s.part, s.trailer = partName, true
		s.newLine()
	default:
		s.skip = s.size + end
		s.newChunk()
	}
}

func hexDigit(b byte) (value int64, ok bool) {
	switch {
	case b >= '0' && b <= '9':
		return int64(b - '0'), true
	case lower(b) >= 'a' && lower(b) <= 'f':
		return int64(lower(b)-'a') + 10, true
	}
	return 0, false
}

// lower returns a letter in lower case, and what else may be in the name of a field as it is.
func lower(b byte) byte { return b | 0x20 }

func isBlank(b byte) bool { return b == ' ' || b == '\t' }
