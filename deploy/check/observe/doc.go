// Package observe shows what Prometheus makes of the product: real replicas on a real Redis in front of the simulated Portal,
// scraped by a real Prometheus under the rules and alerts of deploy/prometheus.
//
// All is in the tests. Time is compressed: a scrape a second, and every duration in the rules divided by the same number. Each
// alert has a fault that makes it fire, in a fleet of its own, which all run at once. They need prometheus, promtool and
// redis-server, and are run by .ci/observe; with -day the plot of a scripted day is written too.
package observe
