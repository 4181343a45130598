package contain

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// skipped is the exit code that says that nothing was shown (EX_TEMPFAIL).
const skipped = 75

var (
	binary  = flag.String("cstproxy", "", "the static binary; without it nothing is shown")
	scratch = flag.String("scratch", "", "an empty directory, whose name is the container's and its cgroup's")
	profile = flag.String("seccomp", "/usr/share/containers/seccomp.json", "the seccomp profile of container engines")
)

// TestMain makes the test binary be a backend where it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == backendCommand {
		os.Exit(runBackend(os.Args[2:]))
	}
	flag.Parse()
	if why := unable(); why != "" {
		fmt.Println("contain: SKIPPED,", why)
		os.Exit(skipped)
	}
	code := m.Run()
	if why := incapable.Load(); why != nil && code == 0 {
		fmt.Println("contain: SKIPPED, no container can be made here:", *why)
		code = skipped
	}
	os.Exit(code)
}

// unable says why nothing can be shown here.
func unable() string {
	if *binary == "" || *scratch == "" {
		return "-cstproxy and -scratch are not given, as .ci/contain does"
	}
	if os.Geteuid() != 0 {
		return "only root may make containers"
	}
	for _, program := range []string{"runc", "ip", "mount", "redis-server"} {
		if _, err := exec.LookPath(program); err != nil {
			return "there is no " + program
		}
	}
	if _, err := os.Stat(*profile); err != nil {
		return "there is no seccomp profile: " + err.Error()
	}
	return ""
}
