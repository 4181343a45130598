package redistest

import (
	"strconv"
	"strings"
	"testing"
)

const (
	clusterNodes = 3
	clusterSlots = 16384
)

// Cluster is a Redis Cluster of three primaries without replicas.
type Cluster struct {
	Nodes []*Server
}

// StartCluster starts a Cluster and returns when all its nodes take commands, in two to three seconds: Redis lets a
// new one wait. It ends with the test.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	c := &Cluster{}
	for range clusterNodes {
		c.Nodes = append(c.Nodes, Start(tb, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"))
	}
	for i, node := range c.Nodes {
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		node.Do("CLUSTER", "ADDSLOTSRANGE", i*clusterSlots/clusterNodes, (i+1)*clusterSlots/clusterNodes-1)
		for _, other := range c.Nodes[:i] {
			node.Do("CLUSTER", "MEET", loopback, other.port, other.port+busOffset)
		}
	}
	for _, node := range c.Nodes {
		await(tb, "the Cluster", node.inCluster)
	}
	return c
}

// URL returns the Cluster's URL, with every node in it.
func (c *Cluster) URL() string {
	target, separator := c.Nodes[0].URL(), "?"
	for _, node := range c.Nodes[1:] {
		target += separator + "addr=" + node.Addr()
		separator = "&"
	}
	return target
}

// inCluster reports whether the node knows all nodes, and that they serve all slots.
func (s *Server) inCluster() bool {
	info, ok := s.Do("CLUSTER", "INFO").(string)
	return ok && strings.Contains(info, "cluster_state:ok") &&
		strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(clusterNodes)+"\r") &&
		strings.Contains(info, "cluster_size:"+strconv.Itoa(clusterNodes)+"\r")
}
