package oidc_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func at(name string, moment time.Time) string { return fmt.Sprintf(`"%s":%d`, name, moment.Unix()) }

// exp and iat are as [world.claims] writes them.
func exp() string { return at("exp", time.Now().Add(lifetime)) }
func iat() string { return at("iat", time.Now()) }

func hs256(header, claims string, secret []byte) string {
	input := encode([]byte(header)) + "." + encode([]byte(claims))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

func unsigned(header, claims string) string {
	return encode([]byte(header)) + "." + encode([]byte(claims)) + "."
}

// honestly signs claims with the issuer's own key.
func honestly(claims string) string { return sign("RS256", rsaKey(), plainHeader, claims) }

func headed(header string, w *world) string { return sign("RS256", rsaKey(), header, w.claims()) }

func split(raw string) (header, claims, signature string) {
	parts := strings.Split(raw, ".")
	return parts[0], parts[1], parts[2]
}

// forgeries: what is wrong with it → a token that is right in all else.
var forgeries = map[string]func(*world) string{
	"alg none":                       func(w *world) string { return unsigned(`{"alg":"none","kid":"rsa"}`, w.claims()) },
	"alg None":                       func(w *world) string { return unsigned(`{"alg":"None","kid":"rsa"}`, w.claims()) },
	"alg NONE":                       func(w *world) string { return unsigned(`{"alg":"NONE","kid":"rsa"}`, w.claims()) },
	"alg none over a true signature": func(w *world) string { return headed(`{"alg":"none","kid":"rsa"}`, w) },
	"alg empty":                      func(w *world) string { return headed(`{"alg":"","kid":"rsa"}`, w) },
	"alg missing":                    func(w *world) string { return headed(`{"kid":"rsa"}`, w) },
	"alg in lower case":              func(w *world) string { return headed(`{"alg":"rs256","kid":"rsa"}`, w) },
	"alg a number":                   func(w *world) string { return headed(`{"alg":256,"kid":"rsa"}`, w) },
	"alg twice":                      func(w *world) string { return headed(`{"alg":"none","alg":"RS256","kid":"rsa"}`, w) },
	"alg by another case":            func(w *world) string { return headed(`{"ALG":"RS256","kid":"rsa"}`, w) },
	"alg allowed nowhere but here":   func(w *world) string { return sign("RS384", rsaKey(), `{"alg":"RS384","kid":"rsa"}`, w.claims()) },
	"alg RS1":                        func(w *world) string { return headed(`{"alg":"RS1","kid":"rsa"}`, w) },
	"alg ES256 with an RSA key":      func(w *world) string { return headed(`{"alg":"ES256","kid":"rsa"}`, w) },
	"alg RS256 with a curve's key": func(w *world) string {
		return sign("ES256", p256Key(), `{"alg":"RS256","kid":"p256"}`, w.claims())
	},
	"HS256 with the public key in PEM": func(w *world) string {
		der := must(x509.MarshalPKIXPublicKey(rsaKey().Public()))
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		return hs256(`{"alg":"HS256","kid":"rsa"}`, w.claims(), text)
	},
	"HS256 with the public key in PKCS 1 PEM": func(w *world) string {
		text := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)})
		return hs256(`{"alg":"HS256","kid":"rsa"}`, w.claims(), text)
	},
	"HS256 with the public key in DER": func(w *world) string {
		return hs256(`{"alg":"HS256","kid":"rsa"}`, w.claims(), must(x509.MarshalPKIXPublicKey(rsaKey().Public())))
	},
	"HS256 with the modulus": func(w *world) string { return hs256(`{"alg":"HS256","kid":"rsa"}`, w.claims(), rsaKey().N.Bytes()) },
	"HS256 with nothing":     func(w *world) string { return hs256(`{"alg":"HS256","kid":"rsa"}`, w.claims(), nil) },
	"HS256 that says RS256":  func(w *world) string { return hs256(plainHeader, w.claims(), rsaKey().N.Bytes()) },
	"HS256 with a symmetric key in the set": func(w *world) string {
		return hs256(`{"alg":"HS256","kid":"oct"}`, w.claims(), []byte("0123456789abcdef0123456789abcdef"))
	},

	"aud another":          func(w *world) string { return honestly(w.claims(`"cstproxy"`, `"other"`)) },
	"aud missing":          func(w *world) string { return honestly(w.claims(`"aud":"cstproxy",`, ``)) },
	"aud null":             func(w *world) string { return honestly(w.claims(`"cstproxy"`, `null`)) },
	"aud empty":            func(w *world) string { return honestly(w.claims(`"cstproxy"`, `""`)) },
	"aud a number":         func(w *world) string { return honestly(w.claims(`"cstproxy"`, `1`)) },
	"aud an empty list":    func(w *world) string { return honestly(w.claims(`"cstproxy"`, `[]`)) },
	"aud a list of others": func(w *world) string { return honestly(w.claims(`"cstproxy"`, `["a","b"]`)) },
	"aud with a number":    func(w *world) string { return honestly(w.claims(`"cstproxy"`, `["cstproxy",1]`)) },
	"aud an object":        func(w *world) string { return honestly(w.claims(`"cstproxy"`, `{"cstproxy":true}`)) },
	"aud longer":           func(w *world) string { return honestly(w.claims(`"cstproxy"`, `"cstproxy2"`)) },
	"aud in upper case":    func(w *world) string { return honestly(w.claims(`"cstproxy"`, `"CSTPROXY"`)) },
	"aud in one text":      func(w *world) string { return honestly(w.claims(`"cstproxy"`, `"a cstproxy"`)) },

	"expired long ago": func(w *world) string {
		return honestly(w.claims(exp(), at("exp", time.Now().Add(-time.Hour)), iat(), at("iat", time.Now().Add(-2*time.Hour))))
	},
	"expired this second": func(w *world) string {
		return honestly(w.claims(exp(), at("exp", time.Now()), iat(), at("iat", time.Now().Add(-time.Minute))))
	},
	"exp missing":           func(w *world) string { return honestly(w.claims(exp()+`,`, ``)) },
	"exp null":              func(w *world) string { return honestly(w.claims(exp(), `"exp":null`)) },
	"exp as text":           func(w *world) string { return honestly(w.claims(exp(), `"exp":"9999999999"`)) },
	"exp as true":           func(w *world) string { return honestly(w.claims(exp(), `"exp":true`)) },
	"exp as a list":         func(w *world) string { return honestly(w.claims(exp(), `"exp":[9999999999]`)) },
	"exp as an object":      func(w *world) string { return honestly(w.claims(exp(), `"exp":{"exp":9999999999}`)) },
	"exp huge":              func(w *world) string { return honestly(w.claims(exp(), `"exp":9223372036854775807`)) },
	"exp beyond all dates":  func(w *world) string { return honestly(w.claims(exp(), `"exp":253402300800`)) },
	"exp in milliseconds":   func(w *world) string { return honestly(w.claims(exp(), at("exp", time.Now().Add(time.Hour))+`000`)) },
	"exp 1e400":             func(w *world) string { return honestly(w.claims(exp(), `"exp":1e400`)) },
	"exp 1e30":              func(w *world) string { return honestly(w.claims(exp(), `"exp":1e30`)) },
	"exp NaN":               func(w *world) string { return honestly(w.claims(exp(), `"exp":NaN`)) },
	"exp Infinity":          func(w *world) string { return honestly(w.claims(exp(), `"exp":Infinity`)) },
	"exp as the text NaN":   func(w *world) string { return honestly(w.claims(exp(), `"exp":"NaN"`)) },
	"exp negative":          func(w *world) string { return honestly(w.claims(exp(), `"exp":-1`)) },
	"exp by another case":   func(w *world) string { return honestly(w.claims(`"exp"`, `"Exp"`)) },
	"iat missing":           func(w *world) string { return honestly(w.claims(`,`+iat(), ``)) },
	"iat null":              func(w *world) string { return honestly(w.claims(iat(), `"iat":null`)) },
	"iat as text":           func(w *world) string { return honestly(w.claims(iat(), `"iat":"1"`)) },
	"iat huge":              func(w *world) string { return honestly(w.claims(iat(), `"iat":9223372036854775807`)) },
	"iat NaN":               func(w *world) string { return honestly(w.claims(iat(), `"iat":NaN`)) },
	"iat negative":          func(w *world) string { return honestly(w.claims(iat(), `"iat":-9223372036854775808`)) },
	"iat beyond the leeway": func(w *world) string { return honestly(w.claims(iat(), at("iat", time.Now().Add(32*time.Second)))) },
	"iat after exp": func(w *world) string {
		return honestly(w.claims(exp(), at("exp", time.Now().Add(10*time.Second)), iat(), at("iat", time.Now().Add(20*time.Second))))
	},
	"nbf beyond the leeway": func(w *world) string {
		return honestly(w.claims(exp(), exp()+`,`+at("nbf", time.Now().Add(32*time.Second))))
	},
	"nbf as text":             func(w *world) string { return honestly(w.claims(exp(), exp()+`,"nbf":"1"`)) },
	"nbf huge, and so a past": func(w *world) string { return honestly(w.claims(exp(), exp()+`,"nbf":9223372036854775807`)) },

	"iss another":               func(w *world) string { return honestly(w.claims(w.url, "https://evil.example")) },
	"iss missing":               func(w *world) string { return honestly(w.claims(`"iss":"`+w.url+`",`, ``)) },
	"iss empty":                 func(w *world) string { return honestly(w.claims(w.url, "")) },
	"iss with a trailing slash": func(w *world) string { return honestly(w.claims(w.url, w.url+"/")) },
	"iss in upper case":         func(w *world) string { return honestly(w.claims(w.url, strings.ToUpper(w.url))) },
	"iss by https":              func(w *world) string { return honestly(w.claims("http://", "https://")) },
	"iss with its port":         func(w *world) string { return honestly(w.claims(w.url, w.url+":80")) },
	"iss with a user":           func(w *world) string { return honestly(w.claims("http://", "http://evil@")) },
	"iss with a suffix":         func(w *world) string { return honestly(w.claims(w.url, w.url+".evil.example")) },
	"iss a list":                func(w *world) string { return honestly(w.claims(`"`+w.url+`"`, `["`+w.url+`"]`)) },
	"sub missing":               func(w *world) string { return honestly(w.claims(`"sub":"alice",`, ``)) },
	"sub empty":                 func(w *world) string { return honestly(w.claims(`"alice"`, `""`)) },
	"sub null":                  func(w *world) string { return honestly(w.claims(`"alice"`, `null`)) },
	"sub a number":              func(w *world) string { return honestly(w.claims(`"alice"`, `1`)) },
	"sub a list":                func(w *world) string { return honestly(w.claims(`"alice"`, `["alice"]`)) },

	"signed by another key": func(w *world) string { return sign("RS256", attackerKey(), plainHeader, w.claims()) },
	"signed for other claims": func(w *world) string {
		header, _, signature := split(honestly(w.claims(`"alice"`, `"mallory"`)))
		return header + "." + encode([]byte(w.claims())) + "." + signature
	},
	"signed for another header": func(w *world) string {
		_, claims, signature := split(w.honest())
		return encode([]byte(`{"kid":"rsa","alg":"RS256"}`)) + "." + claims + "." + signature
	},
	"PS256 signature as RS256": func(w *world) string { return sign("PS256", rsaKey(), plainHeader, w.claims()) },
	"signature stripped": func(w *world) string {
		return strings.TrimRight(w.honest(), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
	},
	"signature and its dot stripped": func(w *world) string { header, claims, _ := split(w.honest()); return header + "." + claims },
	"signature of zeros": func(w *world) string {
		header, claims, _ := split(w.honest())
		return header + "." + claims + "." + encode(make([]byte, 256))
	},
	"signature cut short": func(w *world) string { raw := w.honest(); return raw[:len(raw)-4] },
	"signature too long":  func(w *world) string { return w.honest() + "AAAA" },
	"ES256 of zero r and s": func(w *world) string {
		return unsigned(`{"alg":"ES256","kid":"p256"}`, w.claims()) + encode(make([]byte, 64))
	},
	"ES256 with r and s of the order": func(w *world) string {
		order := p256Key().Params().N.Bytes()
		return unsigned(`{"alg":"ES256","kid":"p256"}`, w.claims()) + encode(append(order, order...))
	},
	"ES256 in DER, of zeros": func(w *world) string {
		return unsigned(`{"alg":"ES256","kid":"p256"}`, w.claims()) + encode([]byte{0x30, 6, 2, 1, 0, 2, 1, 0})
	},
	"ES256 with no signature": func(w *world) string { return unsigned(`{"alg":"ES256","kid":"p256"}`, w.claims()) },
	"ES384's key by ES256": func(w *world) string {
		return sign("ES256", p384Key(), `{"alg":"ES256","kid":"p384"}`, w.claims())
	},

	"kid missing":         func(w *world) string { return headed(`{"alg":"RS256"}`, w) },
	"kid empty":           func(w *world) string { return headed(`{"alg":"RS256","kid":""}`, w) },
	"kid null":            func(w *world) string { return headed(`{"alg":"RS256","kid":null}`, w) },
	"kid a number":        func(w *world) string { return headed(`{"alg":"RS256","kid":1}`, w) },
	"kid a list":          func(w *world) string { return headed(`{"alg":"RS256","kid":["mallory"]}`, w) },
	"kid a path":          func(w *world) string { return headed(`{"alg":"RS256","kid":"../../../../dev/null"}`, w) },
	"kid a path to a key": func(w *world) string { return headed(`{"alg":"RS256","kid":"x/../rsa"}`, w) },
	"kid a query":         func(w *world) string { return headed(`{"alg":"RS256","kid":"' OR 1=1 --"}`, w) },
	"kid with a zero":     func(w *world) string { return headed(`{"alg":"RS256","kid":"rsa\u0000"}`, w) },
	"kid in upper case":   func(w *world) string { return headed(`{"alg":"RS256","kid":"RSA"}`, w) },
	"kid huge":            func(w *world) string { return headed(`{"alg":"RS256","kid":"`+strings.Repeat("k", 4<<10)+`"}`, w) },
	"kid unknown":         func(w *world) string { return headed(`{"alg":"RS256","kid":"unknown"}`, w) },
	"kid of another key":  func(w *world) string { return headed(`{"alg":"RS256","kid":"p256"}`, w) },
	"kid twice":           func(w *world) string { return headed(`{"alg":"RS256","kid":"unknown","kid":"rsa"}`, w) },

	"embedded jwk": func(w *world) string {
		key := must(json.Marshal(public("rsa", attackerKey())))
		return sign("RS256", attackerKey(), `{"alg":"RS256","kid":"rsa","jwk":`+string(key)+`}`, w.claims())
	},
	"embedded jwk without a kid": func(w *world) string {
		key := must(json.Marshal(public("evil", attackerKey())))
		return sign("RS256", attackerKey(), `{"alg":"RS256","jwk":`+string(key)+`}`, w.claims())
	},
	"jku to the attacker": func(w *world) string {
		return sign("RS256", attackerKey(), `{"alg":"RS256","kid":"rsa","jku":"http://localhost/evil"}`, w.claims())
	},
	"x5u to the attacker": func(w *world) string {
		return sign("RS256", attackerKey(), `{"alg":"RS256","kid":"rsa","x5u":"http://localhost/evil"}`, w.claims())
	},
	"x5c of the attacker": func(w *world) string {
		chain := base64.StdEncoding.EncodeToString(certificate(attackerKey()))
		return sign("RS256", attackerKey(), `{"alg":"RS256","kid":"rsa","x5c":["`+chain+`"]}`, w.claims())
	},
	"crit unknown": func(w *world) string { return headed(`{"alg":"RS256","kid":"rsa","crit":["exp"],"exp":1}`, w) },
	"crit empty":   func(w *world) string { return headed(`{"alg":"RS256","kid":"rsa","crit":[]}`, w) },
	"crit b64":     func(w *world) string { return headed(`{"alg":"RS256","kid":"rsa","crit":["b64"],"b64":true}`, w) },
	"b64 false, signed": func(w *world) string {
		header, claims := `{"alg":"RS256","kid":"rsa","b64":false}`, w.claims()
		input := encode([]byte(header)) + "." + claims
		return unsigned(header, claims) + encode(signature("RS256", rsaKey(), input))
	},
	"typ of a logout": func(w *world) string { return headed(`{"alg":"RS256","kid":"rsa","typ":"logout+jwt"}`, w) },
	"typ of a proof":  func(w *world) string { return headed(`{"alg":"RS256","kid":"rsa","typ":"dpop+jwt"}`, w) },
	"typ a number":    func(w *world) string { return headed(`{"alg":"RS256","kid":"rsa","typ":1}`, w) },
	"typ empty":       func(w *world) string { return headed(`{"alg":"RS256","kid":"rsa","typ":""}`, w) },

	"JWE": func(w *world) string {
		return encode([]byte(`{"alg":"dir","enc":"A256GCM","kid":"rsa"}`)) + "..AAAAAAAAAAAAAAAA." + encode([]byte(w.claims())) + ".AAAAAAAAAAAAAAAAAAAAAA"
	},
	"JWS in JSON": func(w *world) string {
		header, claims, signature := split(w.honest())
		return `{"protected":"` + header + `","payload":"` + claims + `","signature":"` + signature + `"}`
	},
	"nested token": func(w *world) string {
		return sign("RS256", rsaKey(), `{"alg":"RS256","kid":"rsa","cty":"JWT"}`, w.honest())
	},
	"two dots more":            func(w *world) string { return w.honest() + ".." },
	"a dot more":               func(w *world) string { return w.honest() + "." },
	"a dot before":             func(w *world) string { return "." + w.honest() },
	"whitespace before":        func(w *world) string { return " " + w.honest() },
	"whitespace after":         func(w *world) string { return w.honest() + " " },
	"a line break after":       func(w *world) string { return w.honest() + "\n" },
	"a line break within":      func(w *world) string { return strings.Replace(w.honest(), ".", "\r\n.", 1) },
	"a line break in a part":   func(w *world) string { raw := w.honest(); return raw[:9] + "\n" + raw[9:] },
	"padding":                  func(w *world) string { return w.honest() + "==" },
	"base64 of the other kind": func(w *world) string { return strings.Replace(w.honest(), "-", "+", 1) + "+" },
	"spare bits set": func(w *world) string {
		raw := w.honest() // 256 bytes leave four spare bits in the last letter
		return raw[:len(raw)-1] + string(raw[len(raw)-1]+1)
	},
	"a zero byte after": func(w *world) string { return w.honest() + "\x00" },
	"the word Bearer":   func(w *world) string { return "Bearer " + w.honest() },
	"two tokens":        func(w *world) string { return w.honest() + "," + w.honest() },
	"of 1 MiB": func(w *world) string {
		return honestly(w.claims(`"alice"`, `"alice","x":"`+strings.Repeat("x", 1<<20)+`"`))
	},
	"a byte over 8 KiB": func(w *world) string { raw := w.honest(); return raw + strings.Repeat("A", 8<<10+1-len(raw)) },
	"empty":             func(*world) string { return "" },
	"dots":              func(*world) string { return ".." },
	"not base64":        func(*world) string { return "a.b.c" },
	"claims nested deeply": func(w *world) string {
		return honestly(strings.Repeat(`{"iss":`, 800) + `1` + strings.Repeat(`}`, 800))
	},
	"a list nested deeply": func(w *world) string { return honestly(strings.Repeat(`[`, 5000)) },
	"header nested deeply": func(w *world) string {
		return headed(`{"alg":"RS256","kid":"rsa","crit":`+strings.Repeat(`[`, 2000)+strings.Repeat(`]`, 2000)+`}`, w)
	},
	"claims of no object":   func(*world) string { return honestly(`"claims"`) },
	"claims null":           func(*world) string { return honestly(`null`) },
	"claims empty":          func(*world) string { return honestly(``) },
	"claims and more":       func(w *world) string { return honestly(w.claims() + w.claims()) },
	"claims with a comment": func(w *world) string { return honestly(w.claims() + `//`) },
	"sub twice":             func(w *world) string { return honestly(w.claims(`"sub":"alice"`, `"sub":"mallory","sub":"alice"`)) },
	"sub twice, escaped": func(w *world) string {
		return honestly(w.claims(`"sub":"alice"`, `"\u0073ub":"mallory","sub":"alice"`))
	},
	"exp twice":           func(w *world) string { return honestly(w.claims(exp(), `"exp":1,`+exp())) },
	"iss twice":           func(w *world) string { return honestly(w.claims(`"iss"`, `"iss":"https://evil.example","iss"`)) },
	"aud twice":           func(w *world) string { return honestly(w.claims(`"aud"`, `"aud":"other","aud"`)) },
	"aud by another case": func(w *world) string { return honestly(w.claims(`"aud"`, `"AUD"`)) },
}

func TestForgedTokenIsRefusedAndItsBytesStayOut(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	i := newIssuer()
	i.keys["oct"] = map[string]string{"kty": "oct", "kid": "oct", "k": encode([]byte("0123456789abcdef0123456789abcdef"))}
	i.keys["without a kid"] = public("", rsaKey())
	w := newWorldWith(t, i)
	w.mustAccept(w.honest(), "before the forgeries")
	accepted := 0
	for name, forge := range forgeries {
		raw := forge(w)
		if w.accepts(raw) {
			accepted++
			t.Errorf("%s: accepted", name)
		}
		_, err := w.verifier.Verify(t.Context(), raw)
		for part := range strings.SplitSeq(raw, ".") {
			if len(part) > 8 && strings.Contains(fmt.Sprintf("%v %#v", err, err), part) {
				t.Errorf("%s: the error holds a part of the token: %v", name, err)
			}
		}
		for _, word := range []string{"mallory", "alice", "evil", "unknown", "dev/null"} {
			if err != nil && strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error holds the token's %s: %v", name, word, err)
			}
		}
	}
	w.mustAccept(w.honest(), "after the forgeries")
	fetches, took := len(w.issuer.times()), time.Since(begun)
	if most := 1 + int(took/(30*time.Second)); fetches > most {
		t.Errorf("the keys were fetched %d times in %v, want %d", fetches, took, most)
	}
	t.Logf("%d forged tokens in %v: %d accepted, %d fetch of the keys", len(forgeries), took, accepted, fetches)
}

func TestTenThousandUnknownKeysCostAFetchIn30Seconds(t *testing.T) {
	t.Parallel()
	const tokens = 10_000
	arrivals := map[string]time.Duration{"at once": 0, "in 100 seconds": 10 * time.Millisecond, "in an hour": time.Hour / tokens}
	for name, gap := range arrivals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { floodWithUnknownKeys(t, tokens, gap) })
		})
	}
}

// floodWithUnknownKeys measures the pause between fetches of the keys while tokens arrive.
func floodWithUnknownKeys(t *testing.T, tokens int, gap time.Duration) {
	t.Helper()
	w := newWorld(t)
	w.mustAccept(w.honest(), "before the flood")
	begun := time.Now()
	time.Sleep(31 * time.Second) // a fetch is allowed again
	accepted := make(chan bool, tokens)
	for n := range tokens {
		raw := unsigned(fmt.Sprintf(`{"alg":"ES256","kid":"unknown-%d"}`, n), w.claims()) + encode(make([]byte, 64))
		go func() {
			_, err := w.verifier.Verify(t.Context(), raw)
			accepted <- err == nil
		}()
		time.Sleep(gap)
	}
	for range tokens {
		if <-accepted {
			t.Error("a token with an unknown key was accepted")
		}
	}
	w.mustAccept(w.honest(), "after the flood")
	took := time.Since(begun)
	fetched := w.issuer.times()
	for n := 1; n < len(fetched); n++ {
		if gap := fetched[n].Sub(fetched[n-1]); gap < 30*time.Second {
			t.Errorf("two fetches %v apart, want 30s at least", gap)
		}
	}
	if len(fetched) < 2 {
		t.Error("no fetch for an unknown key: the flood proves nothing")
	}
	t.Logf("%d unknown keys in %v: 0 accepted, %d fetches", tokens, took, len(fetched))
}
