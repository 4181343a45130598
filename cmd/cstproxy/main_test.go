package main

import (
	"flag"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the golden texts in testdata/script anew")

// TestMain makes the test binary be cstproxy where it is called by that name, so that tests can run it as a process.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cstproxy": func() {
		dieWithParent()
		main()
	}})
}
