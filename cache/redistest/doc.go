// Package redistest starts real Redis servers for tests: one server ([Start]), a primary with replicas under Sentinels
// ([StartSentinel]), or a Cluster ([StartCluster]). They are child processes on free loopback ports, keep nothing on
// disk unless asked to, and end with their test, however that ends. Without redis-server on PATH the test fails.
package redistest
