package main

import (
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v3"
)

// form is how a command says what it found.
type form string

const (
	formText form = "text"
	// formJSON is one object on a line, with fields in camelCase.
	formJSON form = "json"
)

// outputName is the flag that chooses the form.
const outputName = "output"

func forms() []string { return []string{string(formText), string(formJSON)} }

func outputFlag() cli.Flag {
	return &cli.StringFlag{
		Name: outputName, Aliases: []string{"o"}, Value: string(formText), DefaultText: string(formText), Usage: "text for people, json for programs",
		Validator: func(text string) error {
			if form(text) != formText && form(text) != formJSON {
				return fmt.Errorf("got %s, want text or json", showWord(text))
			}
			return nil
		},
	}
}

func formOf(c *cli.Command) form { return form(c.String(outputName)) }

// printJSON prints one object on a line of its own.
func (p process) printJSON(value any) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
