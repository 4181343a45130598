package main

const (
	clientsPlot  = "scale-clients"
	featuresPlot = "scale-features"
)

// scalePlots show what a fetch costs by the number of clients, and with each feature.
func scalePlots(f scaleFigures) map[string]string {
	all := map[string]string{}
	if len(f.Clients) > 1 {
		all[clientsPlot] = clientsCurves(f.Clients).svg()
	}
	if len(f.Features) > 0 {
		all[featuresPlot] = featuresChart(f.Features).svg()
	}
	return all
}

func clientsCurves(all []clientsFigures) curves {
	c := curves{Title: "Processor time for a fetch", Unit: "× that with the fewest clients, by the number of clients", XLabel: short}
	memory, redis := curve{Label: "memory hit"}, curve{Label: "Redis hit"}
	for _, f := range all {
		c.X = append(c.X, float64(f.Clients))
		memory.Y = append(memory.Y, f.Memory.Processor.Median)
		redis.Y = append(redis.Y, f.Redis.Processor.Median)
	}
	c.Lines = []curve{memory, redis}
	return c
}

func featuresChart(features []featureFigures) chart {
	c := chart{Title: "What features cost", Unit: "× the processor time of a fetch without it, as the table says", Rule: 1}
	for _, f := range features {
		c.Bars = append(c.Bars, bar{Label: f.Name, Value: f.Ratio.Median, Low: f.Ratio.Low, High: f.Ratio.High})
	}
	return c
}
