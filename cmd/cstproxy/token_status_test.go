package main

import (
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// aged is a token of which so much is over, and that was last used at active, with Portal's own rule of its life.
func aged(now, active time.Duration) knownToken {
	minted := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	k := knownToken{ID: "alice", State: "live", TokenID: "3f", MintedAt: minted, ActiveAt: minted.Add(active), RefreshableUntil: minted.Add(7 * 24 * time.Hour)}
	k.ExpiresAt = minted.Add(min(active+24*time.Hour, 7*24*time.Hour))
	k.ExpiresIn = int64(k.ExpiresAt.Sub(minted.Add(now)) / time.Second)
	return k
}

func TestALifeLineShowsWhereATokenIs(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	dots := func(n int) string { return strings.Repeat("·", n) }
	for name, tt := range map[string]struct {
		token knownToken
		want  string
	}{
		"just minted":              {aged(0, 0), "┿" + strings.Repeat("─", 7) + "✗" + dots(50) + "┃"},
		"half a day without use":   {aged(day/2, 0), "●" + strings.Repeat("━", 3) + "┿" + strings.Repeat("─", 3) + "✗" + dots(50) + "┃"},
		"used on the third day":    {aged(3*day, 2*day+day/2), "●" + strings.Repeat("━", 20) + "●" + strings.Repeat("━", 3) + "┿" + strings.Repeat("─", 3) + "✗" + dots(29) + "┃"},
		"with its window its wall": {aged(6*day+day/2, 6*day+day/2), "●" + strings.Repeat("━", 53) + "┿" + strings.Repeat("─", 4) + "✗"},
		"without a window":         {knownToken{}, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.token.lifeLine(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestEndsOfALifeSayWhatMovesThem(t *testing.T) {
	t.Parallel()
	if got := aged(0, 0).text(); !strings.Contains(got, "in 1d0h, unless it is used\n") {
		t.Errorf("in its window: got\n%s", got)
	}
	if got := aged(0, 6*24*time.Hour).text(); !strings.Contains(got, "in 7d0h, whatever is done\n") {
		t.Errorf("at its end: got\n%s", got)
	}
}

func TestEveryDecisionHasItsWords(t *testing.T) {
	t.Parallel()
	decisions := []string{"serve live", "serve due", "refresh short"}
	for _, reason := range session.Reasons() {
		action := "mint "
		if reason == session.Ahead {
			action = "serve "
		}
		decisions = append(decisions, action+string(reason))
	}
	for _, decision := range decisions {
		if nextWords[decision] == "" {
			t.Errorf("%q has none", decision)
		}
	}
	var unheard knownToken
	unheard.Next.Action, unheard.Next.Reason = "serve", "new"
	if got := unheard.next(); len(decisions) != len(nextWords) || got != "serve new" {
		t.Errorf("%d words for %d decisions; one of a newer proxy is %q", len(nextWords), len(decisions), got)
	}
}

func TestALifeIsSaidByItsTwoLargestUnits(t *testing.T) {
	t.Parallel()
	for life, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59*time.Second + 999*time.Millisecond: "59s", time.Minute: "1m0s", time.Hour - time.Second: "59m59s",
		time.Hour: "1h0m", 24*time.Hour - time.Second: "23h59m", 24 * time.Hour: "1d0h", 7 * 24 * time.Hour: "7d0h",
	} {
		if got := lifeWords(life); got != want {
			t.Errorf("%s: got %s, want %s", life, got, want)
		}
	}
}
