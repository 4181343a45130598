package main

import (
	"fmt"
	"strings"
)

// machine is where figures come from. What is empty is not there, or does not say.
type machine struct {
	Processor string `json:"processor"`
	Cores     int    `json:"cores"`
	Memory    string `json:"memory"`
	Kernel    string `json:"kernel"`
	System    string `json:"system"`
	Go        string `json:"go"`
	Redis     string `json:"redis"`
	Nginx     string `json:"nginx"`
	Node      string `json:"node"`
}

// text is a sentence or two, without what is not known.
func (m machine) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "**Machine.** %s, %d cores, %s, Linux %s, %s. %s, Redis %s", m.Processor, m.Cores, m.Memory, m.Kernel, m.System, m.Go, m.Redis)
	for _, other := range []struct{ name, version string }{{"nginx", m.Nginx}, {"Node.js", m.Node}} {
		if other.version != "" {
			fmt.Fprintf(&out, ", %s %s", other.name, other.version)
		}
	}
	return out.String() + "."
}
