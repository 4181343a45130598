package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
)

// knownToken is what the proxy knows about a client's token.
type knownToken struct {
	ID               string    `json:"id"`
	State            string    `json:"state"`
	TokenID          string    `json:"tokenId"`
	MintedAt         time.Time `json:"mintedAt"`
	ActiveAt         time.Time `json:"activeAt"`
	ExpiresAt        time.Time `json:"expiresAt"`
	ExpiresIn        int64     `json:"expiresIn"`
	RefreshableUntil time.Time `json:"refreshableUntil"`
	Next             struct {
		Action string `json:"action"`
		Reason string `json:"reason"`
	} `json:"next"`
}

func (p process) tokenStatus(ctx context.Context, _ *cli.Command, q inquiry) error {
	var found knownToken
	body, err := q.ask(ctx, "", &found)
	if err != nil {
		return err
	}
	if q.as == formJSON {
		_, err = fmt.Fprintf(p.out, "%s\n", body)
		return err
	}
	_, err = fmt.Fprint(p.out, found.text())
	return err
}

// text says it to people.
func (k knownToken) text() string {
	lines := [][2]string{{"client", k.ID}, {"state", k.State}}
	if k.TokenID != "" {
		now := k.now()
		left := func(until time.Time) string { return dateWords(until) + "  in " + lifeWords(until.Sub(now)) }
		gone := func(since time.Time) string { return dateWords(since) + "  " + lifeWords(now.Sub(since)) + " ago" }
		lines = append(lines, [][2]string{
			{"token", k.TokenID}, {"minted", gone(k.MintedAt)}, {"used", gone(k.ActiveAt)}, {"expires", left(k.ExpiresAt) + k.extensible()},
			{"window", left(k.RefreshableUntil) + ", past which nothing extends it"},
			{"life", k.lifeLine()}, {"", "● minted, last used  ┿ now  ✗ expires  ┃ end of the window"},
		}...)
	}
	lines = append(lines, [2]string{"next", k.next()})
	var b strings.Builder
	for _, line := range lines {
		_, _ = fmt.Fprintf(&b, "%-8s  %s\n", line[0], line[1])
	}
	return b.String()
}

// now is the proxy's own time at its answer, which may not be this machine's.
func (k knownToken) now() time.Time {
	return k.ExpiresAt.Add(-time.Duration(k.ExpiresIn) * time.Second)
}

func (k knownToken) extensible() string {
	if k.ExpiresAt.Before(k.RefreshableUntil) {
		return ", unless it is used"
	}
	return ", whatever is done"
}

// nextWords :: action and reason → what a fetch would do now, and why.
var nextWords = map[string]string{
	"serve live":         "a fetch is served from the cache: the token lives long enough",
	"serve due":          "a fetch is served from the cache, and the token refreshed in the background: it was not used for a while",
	"serve ahead":        "a fetch is served from the cache, and the next token minted in the background: this one's window is about to close",
	"refresh short":      "a fetch has Portal refresh the token first: little of its life is left",
	"mint absent":        "a fetch mints: there is no token",
	"mint idle_expired":  "a fetch mints: the token went without use for too long",
	"mint window_closed": "a fetch mints: the token's window is over, or too near",
	"mint rejected":      "a fetch mints: Portal is known to refuse the token",
}

func (k knownToken) next() string {
	code := k.Next.Action + " " + k.Next.Reason
	if words := nextWords[code]; words != "" {
		return words
	}
	return code
}

// lifeWidth is narrow enough for a terminal of 80 columns.
const lifeWidth = 60

// lifeLine draws the window of a token: what of it is over, how far the token reaches unless it is used, and the rest.
func (k knownToken) lifeLine() string {
	whole := k.RefreshableUntil.Sub(k.MintedAt)
	if whole <= 0 {
		return "-"
	}
	at := func(moment time.Time) int {
		return min(max(int(float64(moment.Sub(k.MintedAt))/float64(whole)*(lifeWidth-1)), 0), lifeWidth-1)
	}
	cells := []rune(strings.Repeat("·", lifeWidth))
	fill := func(from, to int, with rune) {
		for i := from; i < to; i++ {
			cells[i] = with
		}
	}
	fill(0, at(k.now()), '━')
	fill(at(k.now()), at(k.ExpiresAt), '─')
	for _, mark := range []struct {
		moment time.Time
		sign   rune
	}{{k.RefreshableUntil, '┃'}, {k.ExpiresAt, '✗'}, {k.MintedAt, '●'}, {k.ActiveAt, '●'}, {k.now(), '┿'}} {
		cells[at(mark.moment)] = mark.sign
	}
	return string(cells)
}

func dateWords(moment time.Time) string { return moment.UTC().Format(time.RFC3339) }

// lifeWords is a duration as people say it, by its two largest units.
func lifeWords(life time.Duration) string {
	life = max(life, 0)
	days, hours := int(life/(24*time.Hour)), int(life/time.Hour)
	switch {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, hours%24)
	case hours > 0:
		return fmt.Sprintf("%dh%dm", hours, int(life/time.Minute)%60)
	case life >= time.Minute:
		return fmt.Sprintf("%dm%ds", int(life/time.Minute), int(life/time.Second)%60)
	}
	return fmt.Sprintf("%ds", int(life/time.Second))
}
