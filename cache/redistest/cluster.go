package redistest

import (
	"fmt"
	"strings"
	"testing"
)

const (
	clusterPrimaries = 3
	clusterNodes     = 2 * clusterPrimaries
	clusterSlots     = 16384
	// nodeTimeout is how many ms a node may be silent. Its replica takes over a second or two after that.
	nodeTimeout = "1200"
)

// Cluster is a Redis Cluster of three primaries with a replica each. As Redis has it unless told otherwise, none takes
// commands while a slot has no primary.
type Cluster struct {
	// Nodes are those that start as primaries, then the replica of each in the same order.
	Nodes []*Server
}

// StartCluster starts a Cluster and returns when all its nodes take commands, in two to three seconds: Redis lets a
// new one wait. It ends with the test.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	c := &Cluster{}
	for range clusterNodes {
		c.Nodes = append(c.Nodes, Start(tb, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
			"--cluster-node-timeout", nodeTimeout, "--repl-diskless-sync-delay", "0"))
	}
	for i, node := range c.Primaries() {
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		node.Do("CLUSTER", "ADDSLOTSRANGE", firstSlot(i), firstSlot(i+1)-1)
	}
	for i, node := range c.Nodes {
		for _, other := range c.Nodes[:i] {
			node.Do("CLUSTER", "MEET", loopback, other.port, other.port+busOffset)
		}
	}
	for i, primary := range c.Primaries() {
		c.Replica(i).replicate(primary)
	}
	for _, node := range c.Nodes {
		await(tb, "the Cluster", node.inCluster)
	}
	return c
}

// Primaries returns the nodes that start as primaries.
func (c *Cluster) Primaries() []*Server { return c.Nodes[:clusterPrimaries] }

// Replica returns the node that starts as the replica of primary i.
func (c *Cluster) Replica(i int) *Server { return c.Nodes[clusterPrimaries+i] }

// TookOver reports whether the replica of primary i is a primary itself by now, and takes commands.
func (c *Cluster) TookOver(i int) bool {
	return c.Replica(i).Role() == "master" && c.Replica(i).clusterIsWell()
}

// Slot returns a key's slot, and which of the primaries starts with it.
func (c *Cluster) Slot(key string) (slot, primary int) {
	reply, _ := c.Nodes[0].Do("CLUSTER", "KEYSLOT", key).(int64)
	slot = int(reply)
	for slot >= firstSlot(primary+1) {
		primary++
	}
	return slot, primary
}

// firstSlot returns the first slot of primary i.
func firstSlot(i int) int { return i * clusterSlots / clusterPrimaries }

// URL returns the Cluster's URL, with every node in it.
func (c *Cluster) URL() string { return urlOf(c.Nodes, "?") }

// replicate makes the node a replica of the primary, once it has met it.
func (s *Server) replicate(primary *Server) {
	s.tb.Helper()
	name, _ := primary.Do("CLUSTER", "MYID").(string)
	await(s.tb, "a node to know its primary", func() bool { return strings.Contains(s.clusterNodes(), name) })
	s.Do("CLUSTER", "REPLICATE", name)
}

func (s *Server) clusterIsWell() bool {
	info, _ := s.Do("CLUSTER", "INFO").(string)
	return strings.Contains(info, "cluster_state:ok")
}

func (s *Server) clusterNodes() string {
	nodes, _ := s.Do("CLUSTER", "NODES").(string)
	return nodes
}

// inCluster reports whether the node knows all nodes and what they are, that they serve all slots, and, if it is a
// replica, whether it has its primary's data.
func (s *Server) inCluster() bool {
	info, _ := s.Do("CLUSTER", "INFO").(string)
	replication, _ := s.Do("INFO", "replication").(string)
	return s.clusterIsWell() &&
		strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", clusterNodes)) &&
		strings.Contains(info, fmt.Sprintf("cluster_size:%d\r", clusterPrimaries)) &&
		strings.Count(s.clusterNodes(), "slave ") == clusterPrimaries &&
		!strings.Contains(replication, "master_link_status:down")
}
