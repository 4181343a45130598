package main

const areaMints = "mints"

// mintFigures are what the simulation of mint cost saw.
type mintFigures struct {
	Machine machine
	Runs    []mintRun
}

// mintRun is one pattern of fetches, before one fleet.
type mintRun struct {
	Pattern  string
	Clients  int
	Days     int
	Replicas int
	// Store is what the fleet shared: memory in the place of Redis, or a simulated Redis.
	Store string
	// AheadHours is CSTPROXY_MINT_AHEAD.
	AheadHours float64

	Fetches   int64
	UserDays  int64
	UserWeeks int64
	// All are the mints of all days, Weeks those of whole weeks alone.
	All, Weeks mintCounts
	// Reasons are the proxy's own mints.
	Reasons map[string]int64
	Probes  int64

	// Expired are the tokens handed out that Portal would have refused at that moment; Over the requests that it did refuse,
	// with a 429.
	Expired, Over int64
	// Deferred are the answers that told a caller when to come again.
	Deferred int64
	Waits    waitCounts
	// Renewal is the day around the end of the first tokens' windows, where all were minted at the same time.
	Renewal *renewal
}

// mintCounts are how many tokens each would have minted for the same fetches.
type mintCounts struct {
	Proxy int64
	// Login is a mint at each first fetch of a visit, Cached one for each 24 h in which there is a fetch.
	Login, Cached int64
	// Optimum is the fewest that any who knows all fetches to come can do with.
	Optimum int64
}

// waitCounts are how long fetches took, in simulated time.
type waitCounts struct {
	// AtOnce are those answered from what is cached; then those up to a second, 10 seconds, and a minute, and those longer.
	AtOnce, Second, Ten, Minute, Longer int64
	// LongestSeconds is the longest of all.
	LongestSeconds float64
}

// renewal is what became of a cohort on the day on which its windows close.
type renewal struct {
	// Mints are those of each hour of the 24 in the middle of which the first windows close.
	Mints   []int64
	Waits   waitCounts
	Fetches int64
}

func (w waitCounts) overASecond() int64 { return w.Ten + w.Minute + w.Longer }
