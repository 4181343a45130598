package main

import "fmt"

// What must be measured of daily users and of a launch.
const (
	dailyClients  = 100_000
	dailyDays     = 30
	launchClients = 20_000
)

// wants are what must hold of the mint cost.
func (f mintFigures) wants() []want {
	var expired, over int64
	for _, r := range f.Runs {
		expired, over = expired+r.Expired, over+r.Over
	}
	wants := append(f.dailyWants(), f.launchWants()...)
	return append(wants, f.none("expired tokens handed out, all runs", expired), f.none("requests over the budget, all runs", over))
}

// dailyWants judges all runs of daily users, of which one must be large enough.
func (f mintFigures) dailyWants() (wants []want) {
	measured := false
	for _, r := range f.Runs {
		if r.Pattern == "daily" && r.AheadHours == 0 {
			wants = append(wants, r.judgeMints())
			measured = measured || r.Clients >= dailyClients && r.Days >= dailyDays
		}
	}
	if !measured {
		wants = append(wants, missing(fmt.Sprintf("mints of daily users (%s clients, %d days)", grouped(dailyClients), dailyDays), fewMints()))
	}
	return wants
}

// launchWants judges all launches with renewals ahead, of which one must be large enough.
func (f mintFigures) launchWants() (wants []want) {
	measured := false
	for _, r := range f.Runs {
		if r.Renewal != nil && r.AheadHours > 0 {
			wants = append(wants, r.judgeWaits())
			measured = measured || r.Clients >= launchClients
		}
	}
	if !measured {
		wants = append(wants, missing(fmt.Sprintf("waits over 1 s on day 7 (launch, %s clients, ahead)", grouped(launchClients)), "0"))
	}
	return wants
}

// fewMints is what is wanted of daily users.
func fewMints() string { return fmt.Sprintf("≤ %.2f × the optimum", mostMints) }

func (r mintRun) judgeMints() want {
	return want{
		What: "mints of daily users (" + r.title() + ")", Wanted: fewMints(),
		Seen: fmt.Sprintf("%.4f", r.overOptimum()), Holds: r.All.Optimum > 0 && r.overOptimum() <= mostMints,
	}
}

func (r mintRun) judgeWaits() want {
	late := r.Renewal.Waits.overASecond()
	return want{
		What: "waits over 1 s on day 7 (" + r.title() + ")", Wanted: "0", Seen: grouped(late), Holds: late == 0 && r.Renewal.Fetches > 0,
	}
}

func (f mintFigures) none(what string, seen int64) want {
	if len(f.Runs) == 0 {
		return missing(what, "0")
	}
	return want{What: what, Wanted: "0", Seen: grouped(seen), Holds: seen == 0}
}

func (f mintFigures) plots() map[string]string {
	weeks := chart{Title: "Mints per active user-week", Unit: "by who decides; fewer is better"}
	days := chart{Title: "Mints in each hour of the day on which a launch's windows close", Unit: "from 12 hours before the hour of the launch; 200 a minute are 12,000 an hour"}
	for _, r := range f.Runs {
		if r.AheadHours == 0 && r.Replicas > 1 {
			w := r.Weeks
			weeks.Bars = append(weeks.Bars,
				bar{Label: r.Pattern + ": every login", Value: r.perWeek(w.Login)}, bar{Label: r.Pattern + ": each 24 h", Value: r.perWeek(w.Cached)},
				bar{Label: r.Pattern + ": cstproxy", Value: r.perWeek(w.Proxy)}, bar{Label: r.Pattern + ": optimum", Value: r.perWeek(w.Optimum)})
		}
		if r.Renewal != nil {
			days.Bars = append(days.Bars, r.hours()...)
		}
	}
	return map[string]string{"mints": weeks.svg(), "launch": days.svg()}
}

// hours are the mints of the hours around that of the launch.
func (r mintRun) hours() (bars []bar) {
	const around = 3
	middle := len(r.Renewal.Mints) / 2
	for hour := max(middle-around, 0); hour < min(middle+around, len(r.Renewal.Mints)); hour++ {
		bars = append(bars, bar{Label: fmt.Sprintf("ahead %gh, hour %+d", r.AheadHours, hour-middle), Value: float64(r.Renewal.Mints[hour])})
	}
	return bars
}
