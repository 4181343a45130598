package main

// Names of contenders, as --only takes them.
const (
	nameEcho       = "echo"
	nameGet        = "goredis"
	nameProxy      = "cstproxy"
	nameProxyRedis = "cstproxy-redis"
	nameCallers    = "cstproxy-callers" // callers have keys
	again          = "-again"           // the same once more, under another name: what differs between them is noise
	overUnix       = "-unix"            // callers come by a Unix socket
)

// ownContenders are the proxy, and what it is measured by. All reach Redis by TCP.
func ownContenders() []contender {
	return []contender{
		{Name: nameEcho, Start: startServer(nameEcho, "tcp")},
		{Name: nameEcho + again, Start: startServer(nameEcho, "tcp")},
		{Name: nameEcho + overUnix, Start: startServer(nameEcho, "unix")},
		{Name: nameGet, Start: startServer(nameGet, "tcp")},
		{Name: nameGet + overUnix, Start: startServer(nameGet, "unix")},
		{Name: nameProxy, Start: startProxyAs(nameProxy)},
		{Name: nameProxy + again, Start: startProxyAs(nameProxy + again)},
		{Name: nameProxy + overUnix, Start: startProxyUnix(nameProxy + overUnix)},
		{Name: nameCallers, Start: startProxyWithCallers},
		{Name: nameProxyRedis, Start: startProxyAs(nameProxyRedis, memoryOff)},
		{Name: nameGet + many, Start: askedForMany(startServer(nameGet, "tcp"))},
		{Name: nameProxyRedis + many, Start: askedForMany(startProxyAs(nameProxyRedis+many, memoryOff))},
		{Name: nameProxyRedis + overUnix, Start: startProxyUnix(nameProxyRedis+overUnix, memoryOff)},
	}
}
