package portaltest

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
)

// answer is a response before a fault gets at it.
type answer struct {
	status int
	header map[string]string
	body   any
}

// document is Portal's answer about a client.
type document struct {
	ID                  string     `json:"id"`
	ClientAPIKey        string     `json:"clientApiKey,omitempty"`
	ClientSessionToken  string     `json:"clientSessionToken,omitempty"`
	IsAccountAbstracted bool       `json:"isAccountAbstracted"`
	Wallets             []struct{} `json:"wallets,omitzero"`
}

func describe(c *client) document {
	return document{ID: c.id, IsAccountAbstracted: c.isAccountAbstracted}
}

// refusal returns an answer without success, in Portal's usual form.
func refusal(status int) answer {
	return answer{status: status, body: map[string]string{"error": http.StatusText(status)}}
}

// deadTokenBody takes turns through the forms in which Portal's clients meet a
// 401: none is to be relied on.
func deadTokenBody(turn int) any {
	switch turn % 3 {
	case 0:
		return struct{}{}
	case 1:
		return map[string]string{"error": "Unauthorized"}
	default:
		return "Unauthorized"
	}
}

func (a answer) succeeded() bool { return a.status/100 == 2 }

// pardonable is a refusal that was not for the credential.
func (a answer) pardonable() bool {
	return a.status/100 == 4 && a.status != http.StatusUnauthorized
}

// altered is the answer as WrongID and NoToken make it; others leave it as it is.
func (a answer) altered(kind FaultKind) answer {
	d, ok := a.body.(document)
	if !ok {
		return a
	}
	switch kind {
	case WrongID:
		d.ID = randomID()
	case NoToken:
		d.ClientSessionToken = ""
	}
	a.body = d
	return a
}

func (a answer) send(w http.ResponseWriter) {
	body, err := json.Marshal(a.body)
	if err != nil {
		panic("portaltest: " + err.Error()) // only this package's own types get here
	}
	a.start(w)
	_, _ = w.Write(body) // the caller may have left
}

func (a answer) start(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
}

func (a answer) sendGarbage(w http.ResponseWriter) {
	a.start(w)
	_, _ = w.Write([]byte("<html><body>It works!</body></html>"))
}

// sendHuge puts blanks before the body instead of making it invalid, so that a
// reader without a limit takes the answer for good.
func (a answer) sendHuge(w http.ResponseWriter) {
	const chunks = 1024
	blanks := bytes.Repeat([]byte(" "), 64<<10)
	a.start(w)
	for range chunks {
		if _, err := w.Write(blanks); err != nil {
			return
		}
	}
	_ = json.NewEncoder(w).Encode(a.body)
}

// hangUp ends the connection without an answer.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn() // no farewell
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // close by reset
	}
	_ = conn.Close()
}
