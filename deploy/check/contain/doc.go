// Package contain shows the static binary at work where a pod would have it: in a container of runc's with a read-only root
// that holds the binary, passwd, group and certificates, as user 65532, without capabilities or a way to get any, under
// the seccomp profile of container engines, with 64 MiB of memory, in a network of its own.
//
// All is in the tests. They are a kubelet, which probes by the pod's address, sends the signals in its order and writes
// secrets as it does, and the containers beside the proxy: a backend, Redis, and the simulated Portal, each under a uid of its
// own. They need root and runc, and are run by .ci/contain.
package contain
