package portaltest

import (
	"net/http"
	"strconv"
)

// maxTake is how many clients a page holds at the most, and if the caller does
// not say: that Portal does not state.
const maxTake = 100

// page is Portal's answer to a listing. Unlike v1's it gives no key away.
type page struct {
	Results  []document   `json:"results"`
	Metadata pageMetadata `json:"metadata"`
}

// pageMetadata says where the next page begins: after the client whose id is
// Cursor, which is empty on the last page.
type pageMetadata struct {
	Cursor string `json:"cursor"`
	Take   int    `json:"take"`
	Total  int    `json:"total"`
}

// list answers with the clients after that of the cursor, oldest first.
func (p *Portal) list(c call) answer {
	take, err := takeOf(c.query.Get("take"))
	if err != nil || take < 1 || take > maxTake {
		return refusal(http.StatusBadRequest)
	}
	from := 0
	if cursor := c.query.Get("cursor"); cursor != "" {
		last, known := p.ledger.clients[cursor]
		if !known {
			return refusal(http.StatusBadRequest)
		}
		from = last.place + 1
	}
	return answer{status: http.StatusOK, body: p.ledger.page(from, take)}
}

func takeOf(text string) (int, error) {
	if text == "" {
		return maxTake, nil
	}
	return strconv.Atoi(text)
}

func (l *ledger) page(from, take int) page {
	to := min(from+take, len(l.listed))
	answer := page{Results: []document{}, Metadata: pageMetadata{Take: take, Total: len(l.listed)}}
	for _, c := range l.listed[from:to] {
		answer.Results = append(answer.Results, describe(c))
	}
	if to < len(l.listed) {
		answer.Metadata.Cursor = l.listed[to-1].id
	}
	return answer
}
