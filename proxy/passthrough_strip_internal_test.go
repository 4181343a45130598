package proxy

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCredentialsAreTakenOutAndAllElseStays(t *testing.T) {
	t.Parallel()
	const key = "the-key"
	deep := func(n int, inside string) string { return strings.Repeat("[", n) + inside + strings.Repeat("]", n) }
	for name, c := range map[string]struct{ text, want string }{
		"nothing to take out, byte for byte": {" {\n \"b\" : 1.0e+5 , \"a\":[ ]}\r\n", " {\n \"b\" : 1.0e+5 , \"a\":[ ]}\r\n"},
		"its order":                          {`{"z":1,"apiKey":2,"a":3,"m":4}`, `{"z":1,"a":3,"m":4}`},
		"the first, the last, the only one":  {`[{"apiKey":1,"a":1},{"a":1,"apiKey":1},{"apiKey":1}]`, `[{"a":1},{"a":1},{}]`},
		"numbers":                            {`{"apiKey":1,"n":[1e400,123456789012345678901234567890,-0,0.10,1E+2]}`, `{"n":[1e400,123456789012345678901234567890,-0,0.10,1E+2]}`},
		"other values":                       {`{"apiKey":1,"n":[true,false,null,"",{},[]]}`, `{"n":[true,false,null,"",{},[]]}`},
		"text":                               {`{"apiKey":1,"\u00e9<&>":"é😀\ud83d\ude00\"\\\/\n\u0000"}`, `{"é<&>":"é😀😀\"\\/\n\u0000"}`},
		"members twice":                      {`{"a":1,"apiKey":1,"a":2,"apiKey":2}`, `{"a":1,"a":2}`},
		"whatever it holds":                  {`{"apiKey":{"a":[{"b":"c"}]},"secret":[["x"]],"password":null,"a":1}`, `{"a":1}`},
		"within arrays of objects":           {`[[{"a":[{"clientApiKey":"x","b":1}]}]]`, `[[{"a":[{"b":1}]}]]`},
		"written with escapes":               {`{"client\u0041pi\u004Bey":"x","a":1}`, `{"a":1}`},
		"however it is spelled":              {`{"CLIENT_API_KEY":1,"client-api-key":1,"Client Api Key":1,"custodianApiKey":1,"apikey":1,"api_secret":1,"clientSecret":1,"secret_key":1,"privateKey":1,"apiKeys":[1],"apiKeyId":1,"api_token":1,"a":1}`, `{"a":1}`},
		"what only sounds like it":           {`{"clientSessionToken":"cst","secretary":1,"keyApi":1,"passwordless":true,"api":{"key":1},"publicKey":1}`, `{"clientSessionToken":"cst","secretary":1,"keyApi":1,"passwordless":true,"api":{"key":1},"publicKey":1}`},
		"a text":                             {`"apiKey"`, `"apiKey"`},
		"the key itself":                     {`{"a":"the-key","b":["x the-key y"],"c":"the-ke","d":"\u0074he-key"}`, `{"a":"","b":[""],"c":"the-ke","d":""}`},
		"the key itself as a name":           {`{"the-key":1,"x-the-key-y":{"a":1},"b":2}`, `{"b":2}`},
		"as deep as it may be":               {deep(mostNesting, `{}`)[1:mostNesting] + `{"apiKey":1}` + strings.Repeat("]", mostNesting-1), strings.Repeat("[", mostNesting-1) + "{}" + strings.Repeat("]", mostNesting-1)},
		"a scalar that deep":                 {deep(mostNesting, "1"), deep(mostNesting, "1")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := strip([]byte(c.text), key)
			if diff := cmp.Diff(c.want, string(got)); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	for name, text := range map[string]string{
		"nothing": "", "white space": " \n", "too deep": deep(mostNesting+1, ""), "far too deep": strings.Repeat("[", 1<<20), "deep objects": strings.Repeat(`{"a":`, mostNesting+1) + "1" + strings.Repeat("}", mostNesting+1),
		"far too deep in what is taken out": `{"apiKey":` + strings.Repeat("[", 1<<20), "cut off": `{"a":1`, "cut off in a name": `{"a`, "cut off in what is taken out": `{"apiKey":"x`,
		"trailing": `{} x`, "trailing bracket": `{}}`, "two": `{"a":1}{"apiKey":1}`, "two with a comma": `1,2`, "a comma too many": `{"a":1,}`, "a comma in an array": `[1,]`,
		"no quotes": `{apiKey:1}`, "a comment": `{}//`, "a byte order mark": "\ufeff{}", "HTML": "<p>", "not a number": "NaN", "a zero first": "01", "a name that is none": `{1:2}`, "no colon": `{"a" 1}`, "a line break in a text": "\"a\nb\"",
	} {
		if got, err := strip([]byte(text), key); err == nil || got != nil {
			t.Errorf("%s is taken for JSON: %.80q", name, got)
		} else {
			wantPrintable(t, err)
		}
	}
}

func FuzzNoCredentialIsLeftIn(f *testing.F) {
	for _, text := range []string{
		`{"a":{"clientApiKey":"x"},"b":[{"API_KEY":1}]}`, `{"\u0061piKey":1}`, `["a the-key"]`, `{"the-key":1}`, `{"a":"\ud800"}`, `{"apiKey":1,"n":1e400,"n":-0}`, "\"\xff\"", `{"":{}}`, `{"a":1}{}`, `[`, `{"apiKey"`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const key = "the-key"
		got, err := strip(text, key)
		if err != nil {
			return
		}
		if !json.Valid(text) || !json.Valid(got) {
			t.Fatalf("%q became %q, and one of them is no JSON", text, got)
		}
		again, err := strip(got, key)
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("%q became %q, and that %q, %v", text, got, again, err)
		}
		var value any
		decoder := json.NewDecoder(bytes.NewReader(got))
		decoder.UseNumber()
		if err := decoder.Decode(&value); err != nil {
			t.Fatal(err)
		}
		wantStripped(t, value, key)
	})
}

func wantStripped(t *testing.T, value any, key string) {
	t.Helper()
	switch value := value.(type) {
	case map[string]any:
		for name, member := range value {
			if isCredential(name) || strings.Contains(name, key) {
				t.Errorf("there is a member %q", name)
			}
			wantStripped(t, member, key)
		}
	case []any:
		for _, element := range value {
			wantStripped(t, element, key)
		}
	case string:
		if strings.Contains(value, key) {
			t.Errorf("there is %q", value)
		}
	}
}
