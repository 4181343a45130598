package proxy

import (
	_ "embed"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

// specificationPath is where the specification is served.
const specificationPath = "/openapi.yaml"

// anyVersion stands in the specification where the build's version goes.
const anyVersion = `version: "devel"`

//go:embed openapi.yaml
var openapi string

// yaml is a body that is a YAML document (RFC 9512).
type yaml []byte

// specificationOf returns the data API's OpenAPI document as the build of this version serves it.
func specificationOf(version string) yaml {
	return yaml(strings.Replace(openapi, anyVersion, "version: "+strconv.QuoteToASCII(version), 1))
}

// specification answers with the data API's OpenAPI document. It holds nothing of this replica but its version.
func (s *Server) specification(c echo.Context) error {
	return s.reply(c, outcome{event: EventDescribed, status: http.StatusOK, body: s.document})
}
