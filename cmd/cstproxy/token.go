package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// askTime is longer than the proxy lets a caller wait for Portal.
const askTime = time.Minute

func (p process) token() *cli.Command {
	minTTL := &cli.DurationFlag{Name: "min-ttl", DefaultText: "the proxy's CSTPROXY_MIN_TTL", Usage: "at least that much life left, such as 2h: the proxy refreshes or mints if need be", Validator: func(life time.Duration) error {
		if life < 0 {
			return fmt.Errorf("got %s, want a duration of 0 or more", life)
		}
		return nil
	}}
	show := &cli.BoolFlag{Name: "show-token", Usage: "print the token that took its place, alone"}
	return &cli.Command{
		Name:         "token",
		Usage:        "ask the running proxy for a client's token, or about it",
		OnUsageError: wrongUsage(),
		Action:       wanting,
		Commands: []*cli.Command{
			p.ofClient("get", "print the client's live token, and nothing else", p.getToken, minTTL),
			p.ofClient("status", "say what is known about the client's token, and what a fetch would do now", p.tokenStatus),
			p.ofClient("reject", "tell that Portal refuses the client's token, so that another takes its place; without TOKEN_ID the cached one", p.rejectToken, show),
		},
	}
}

// inquiry is one question about a client's token.
type inquiry struct {
	api    *running
	key    session.Secret
	client session.ClientID
	as     form
}

// ofClient is a command about one client. What can be wrong with its words is said before anything is asked.
func (p process) ofClient(name, usage string, action func(context.Context, *cli.Command, inquiry) error, flags ...cli.Flag) *cli.Command {
	arguments, most := "CLIENT", 1
	if name == "reject" {
		arguments, most = "CLIENT [TOKEN_ID]", 2
	}
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: arguments, OnUsageError: wrongUsage(),
		Flags: append(append(flags, dataPart().flags()...), outputFlag()),
		Action: func(ctx context.Context, c *cli.Command) error {
			if n := c.Args().Len(); n < 1 || n > most {
				return usageError{fmt.Errorf("%s takes %s, got %d words; see %s --help", name, arguments, n, c.FullName())}
			}
			client, err := session.ParseClientID(c.Args().First())
			if err != nil {
				return usageError{err}
			}
			config, err := dataPart().load(p.environ, givenFlags(c))
			if err != nil {
				return err
			}
			api, err := reachData(config)
			if err != nil {
				return err
			}
			defer api.close()
			ctx, cancel := context.WithTimeout(ctx, askTime)
			defer cancel()
			return action(ctx, c, inquiry{api: api, key: config.CallerKey, client: client, as: formOf(c)})
		},
	}
}

// grantedToken is what the commands read of the document that comes with a token.
type grantedToken struct {
	Token     string    `json:"clientSessionToken"`
	TokenID   string    `json:"tokenId"`
	Source    string    `json:"source"`
	ExpiresAt time.Time `json:"expiresAt"`
	ExpiresIn int64     `json:"expiresIn"`
}

func (p process) getToken(ctx context.Context, c *cli.Command, q inquiry) error {
	wish := url.Values{}
	if c.IsSet("min-ttl") {
		wish.Set("minTtl", c.Duration("min-ttl").String())
	}
	var document grantedToken
	body, err := q.ask(ctx, "/token?"+wish.Encode(), &document)
	if err != nil {
		return err
	}
	if _, seen := terminal(p.out); seen {
		_, _ = fmt.Fprintln(p.err, "This is a secret, and stays in the terminal's memory: TOKEN=$(cstproxy token get …) does not show it.")
	}
	if q.as == formJSON {
		_, err = fmt.Fprintf(p.out, "%s\n", body)
		return err
	}
	_, err = fmt.Fprintln(p.out, document.Token)
	return err
}

// replaced is what becomes of a token that was rejected, in JSON.
type replaced struct {
	ID              session.ClientID `json:"id"`
	RejectedTokenID string           `json:"rejectedTokenId"`
	TokenID         string           `json:"tokenId"`
	Source          string           `json:"source"`
	ExpiresAt       time.Time        `json:"expiresAt"`
	ExpiresIn       int64            `json:"expiresIn"`
	// Token is there if it was asked for.
	Token string `json:"clientSessionToken,omitempty"`
}

func (p process) rejectToken(ctx context.Context, c *cli.Command, q inquiry) error {
	id, err := q.rejected(ctx, c.Args().Get(1))
	if err != nil {
		return err
	}
	var document grantedToken
	if _, err := q.ask(ctx, "/token?rejected="+id.String(), &document); err != nil {
		return err
	}
	if !c.Bool("show-token") {
		document.Token = ""
	}
	switch {
	case q.as == formJSON:
		return p.printJSON(replaced{
			ID: q.client, RejectedTokenID: id.String(), TokenID: document.TokenID, Source: document.Source,
			ExpiresAt: document.ExpiresAt, ExpiresIn: document.ExpiresIn, Token: document.Token,
		})
	case document.Token != "":
		_, err = fmt.Fprintln(p.out, document.Token)
	default:
		_, err = fmt.Fprintf(p.out, "rejected  %s\nnow       %s, %s, which lives %s\n", id, document.TokenID,
			sourceWords(document.Source), lifeWords(time.Duration(document.ExpiresIn)*time.Second))
	}
	return err
}

func sourceWords(source string) string {
	if source == string(session.SourceMint) {
		return "minted just now"
	}
	return "which was cached already"
}

var errNothingToReject = errors.New("nothing is cached for this client, so there is nothing to reject: cstproxy token get mints it a token")

// rejected returns the id that was given, or that of the cached token.
func (q inquiry) rejected(ctx context.Context, given string) (session.TokenID, error) {
	if given != "" {
		id, err := session.ParseTokenID(given)
		if err != nil {
			return id, usageError{fmt.Errorf("%w; cstproxy token status prints the id of the cached one", err)}
		}
		return id, nil
	}
	var cached knownToken
	if _, err := q.ask(ctx, "", &cached); err != nil {
		return session.TokenID{}, err
	}
	if cached.TokenID == "" {
		return session.TokenID{}, errNothingToReject
	}
	return session.ParseTokenID(cached.TokenID)
}

// ask reads the answer to a GET below the client into document, and returns it as it came.
func (q inquiry) ask(ctx context.Context, below string, document any) ([]byte, error) {
	got, err := q.api.ask(ctx, "/v1/clients/"+string(q.client)+below, q.key)
	if err != nil {
		return nil, q.unreachable(err)
	}
	if got.status != http.StatusOK {
		return nil, q.refusal(got)
	}
	if err := json.Unmarshal(got.body, document); err != nil || !q.isAbout(got.body) {
		return nil, q.stranger(got)
	}
	return trimmed(got.body), nil
}

// isAbout reports an answer that names the client, as each does that cstproxy gives about one.
func (q inquiry) isAbout(answer []byte) bool {
	var about struct {
		ID session.ClientID `json:"id"`
	}
	return json.Unmarshal(answer, &about) == nil && about.ID == q.client
}
