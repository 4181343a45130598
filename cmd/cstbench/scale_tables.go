package main

import (
	"fmt"
	"strings"
)

func clientsText(all []clientsFigures) string {
	if len(all) == 0 {
		return ""
	}
	var text strings.Builder
	fmt.Fprintf(&text, `### Clients

What a fetch costs where one of so many clients is asked for at random: the ratio to %s clients, the median of rounds in which
each number of clients has its own processes, whose memory has room for all (CSTPROXY_MEMORY_ENTRIES), and which were asked for each
client once before: whom a replica has yet to see is answered through net/http, which costs more. Over HTTP it is the processor time of the proxy for a fetch; the mean has whatever
the garbage collector took between the median ones. What callers wait has the interval of its median, too: who asks and who answers
share the cores, so that it moves more than processor time. A grant in the process is a few hundred nanoseconds, so that most of it is
how far the machine's memory is away once a million entries do not fit in its caches; over HTTP, as a caller sees it, little of that is
left.

| clients | memory hit | mean | Redis hit | mean | grant from memory | grant from Redis | caller waits, memory | Redis | resident MiB |
|---|---|---|---|---|---|---|---|---|---|
`, thousands(all[0].Clients))
	for _, c := range all {
		fmt.Fprintf(&text, "| %s | %s | %.2f | %s | %.2f | %s | %s | %s | %s | %.0f |\n", thousands(c.Clients), between(c.Memory.Processor), c.Memory.Mean,
			between(c.Redis.Processor), c.Redis.Mean, between(c.MemoryGrant), between(c.RedisGrant), between(c.Memory.Wait), between(c.Redis.Wait), c.ResidentMiB)
	}
	fmt.Fprintf(&text, "\n![Processor time for a fetch by the number of clients](%s/%s.svg)\n\n", plotFolder, clientsPlot)
	return text.String()
}

func replicasText(all []fleetFigures) string {
	var text strings.Builder
	text.WriteString("### Replicas on one Redis\n\nEvery command that came to Redis, one by one (`MONITOR`), but for those within scripts, " +
		"which are no round trips. What an idle fleet sends as well is left out of the counts for fetches.\n\n" +
		"| replicas | for a memory hit | for a Redis hit | for a mint | idle, each replica a minute |\n|---|---|---|---|---|\n")
	for _, f := range all {
		idle := 0.0
		for _, rate := range f.IdlePerReplicaMinute {
			idle += rate
		}
		fmt.Fprintf(&text, "| %d | %s | %s | %s | %.0f |\n", f.Replicas, f.MemoryHits.each(), f.RedisHits.each(), f.Mints.each(), idle)
	}
	if len(all) > 0 {
		last := all[len(all)-1]
		var sent []string
		for _, name := range sortedNames(last.Mints.Commands) {
			sent = append(sent, fmt.Sprintf("%.3g × `%s`", float64(last.Mints.Commands[name])/float64(last.Mints.Fetches), plainName(name)))
		}
		fmt.Fprintf(&text, "\nA mint, with the fetch that asks for it, sends %s.\n", listed(sent))
	}
	return text.String() + "\n"
}

// each is how many commands there were for one fetch.
func (c counted) each() string {
	if c.Fetches == 0 {
		return ""
	}
	return fmt.Sprintf("%.3g", float64(c.total())/float64(c.Fetches))
}

// plainName is a command without the digest of its script.
func plainName(name string) string {
	if words := strings.Fields(name); len(words) == 3 {
		return words[0] + " " + words[2]
	}
	return name
}

func featuresText(all []featureFigures) string {
	var text strings.Builder
	fmt.Fprintf(&text, `### What each feature costs

The processor time of a fetch from memory with it, over that of one without it, in rounds in random order. The first row has two that
are alike: how far the others are to be trusted. As it is shipped, cstproxy answers a fetch that is nothing but that on the connection
itself, before net/http; one header more, and net/http has it, which the second row shows. With a callers file, an audit, traces or
pass-through net/http has all requests: these are set against such a one, and against a fetch on the connection they cost as much more as
that row says. What can't be turned off was measured in a process with it and one without, and set against the whole of a fetch
through net/http. With a callers file each request has a key; a log at warn has no line for it.

![What features cost](%s/%s.svg)

| feature | over | ratio |
|---|---|---|
`, plotFolder, featuresPlot)
	for _, f := range all {
		name := f.Name
		if f.Inside {
			name += " *(always on)*"
		}
		fmt.Fprintf(&text, "| %s | %s | %s |\n", name, f.Base, between(f.Ratio))
	}
	return text.String() + "\n"
}
