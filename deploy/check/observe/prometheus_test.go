package observe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// prometheus is a server that scrapes fleets every second.
type prometheus struct {
	*process
	t         *testing.T
	directory string
	address   string
}

// watch starts a Prometheus under the shipped rules, hastened.
func watch(t *testing.T, factor int) *prometheus {
	t.Helper()
	p := &prometheus{t: t, directory: short(t), address: free(t)}
	for _, file := range []string{rulesFile, alertsFile} {
		p.write(filepath.Base(file), hastened(read(t, file), factor))
	}
	p.write("prometheus.yml", `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml, alerts.yaml]
scrape_configs:
  - job_name: targets
    file_sd_configs: [{files: ["targets-*.json"], refresh_interval: 1s}]
`)
	p.process = start(t, []string{"GOGC=400"}, "prometheus", "--config.file="+filepath.Join(p.directory, "prometheus.yml"), "--log.level=warn",
		"--storage.tsdb.path="+filepath.Join(p.directory, "data"), "--web.listen-address="+p.address)
	await(t, "Prometheus to be ready", func() bool {
		response, err := http.Get("http://" + p.address + "/-/ready")
		if err == nil {
			_ = response.Body.Close()
		}
		return p.hasEnded() || err == nil && response.StatusCode == http.StatusOK
	})
	if p.hasEnded() {
		t.Fatalf("Prometheus ended: %s", p.written.tail())
	}
	return p
}

// free returns an address of loopback that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (p *prometheus) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.directory, name)
	err := os.WriteFile(path+".next", []byte(text), 0o600)
	if err == nil {
		err = os.Rename(path+".next", path) // so that nobody reads half of it
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// job is how a fleet is named where there are many.
func job(name string) string { return "cstproxy-" + name }

// scrape has Prometheus scrape addresses as the replicas of a fleet, until the test ends, and returns once it has done so.
func (p *prometheus) scrape(t *testing.T, name string, addresses ...string) {
	t.Helper()
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	var groups []group
	for i, address := range addresses {
		groups = append(groups, group{[]string{address}, map[string]string{"namespace": "wallet", "job": job(name), "pod": fmt.Sprintf("%s-%d", name, i)}})
	}
	text, err := json.Marshal(groups)
	if err != nil {
		t.Fatal(err)
	}
	file := "targets-" + name + ".json"
	p.write(file, string(text))
	// Before the replicas end, so that none is missed.
	t.Cleanup(func() {
		p.write(file, "[]")
		_ = waitFor(func() bool { return len(p.instant(fmt.Sprintf(`up{job=%q}`, job(name)))) == 0 })
	})
	await(t, "every replica to be scraped", func() bool {
		return len(p.instant(fmt.Sprintf(`cstproxy_build_info{job=%q}`, job(name)))) == len(addresses)
	})
}

// waitFor is await where the test has ended.
func waitFor(condition func() bool) bool {
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); <-time.After(50 * time.Millisecond) {
		if condition() {
			return true
		}
	}
	return false
}

// admins returns where the replicas are scraped.
func (f *fleet) admins() (addresses []string) {
	for _, r := range f.replicas {
		addresses = append(addresses, r.admin)
	}
	return addresses
}

// series is one of a query's results.
type series struct {
	labels map[string]string
	points []point
}

type point struct {
	at    time.Time
	value float64
}

// instant returns what a query says now.
func (p *prometheus) instant(query string) []series {
	return p.ask("query", url.Values{"query": {query}})
}

// over returns what a query said, every second.
func (p *prometheus) over(query string, from, to time.Time) []series {
	return p.ask("query_range", url.Values{
		"query": {query}, "start": {stamp(from)}, "end": {stamp(to)}, "step": {"1"},
	})
}

func stamp(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

func (p *prometheus) ask(path string, values url.Values) []series {
	response, err := http.PostForm("http://"+p.address+"/api/v1/"+path, values)
	if err != nil {
		p.t.Errorf("ask Prometheus: %v", err)
		return nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	var said struct {
		Error string `json:"error"`
		Data  struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
				Values [][2]any          `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err != nil || said.Error != "" {
		p.t.Errorf("%s: %v %s", values.Get("query"), err, said.Error)
		return nil
	}
	var all []series
	for _, result := range said.Data.Result {
		one := series{labels: result.Metric}
		if result.Value[0] != nil {
			result.Values = append(result.Values, result.Value)
		}
		for _, pair := range result.Values {
			value, err := strconv.ParseFloat(pair[1].(string), 64)
			if err == nil && !math.IsNaN(value) {
				one.points = append(one.points, point{time.UnixMilli(int64(pair[0].(float64) * 1000)), value})
			}
		}
		all = append(all, one)
	}
	return all
}

// fired returns the alerts that ever fired for a fleet.
func (p *prometheus) fired(name string) []string {
	query := fmt.Sprintf(`group by (alertname) (last_over_time(ALERTS{alertstate="firing", job=%q}[1h]))`, job(name))
	if name == "" {
		query = `group by (alertname) (last_over_time(ALERTS{alertstate="firing"}[1h]))`
	}
	var names []string
	for _, alert := range p.instant(query) {
		names = append(names, alert.labels["alertname"])
	}
	slices.Sort(names)
	return names
}

func TestPromtoolAcceptsTheRulesTheirTestsAndTheConfiguration(t *testing.T) {
	t.Parallel()
	tests, err := filepath.Glob("../../prometheus/tests/*.yaml")
	if err != nil || len(tests) == 0 {
		t.Fatalf("found %d files of tests (%v)", len(tests), err)
	}
	for name, command := range map[string][]string{
		"check rules":  {"check", "rules", "--lint=all", "--lint-fatal", rulesFile, alertsFile},
		"check config": {"check", "config", "--lint=all", "--lint-fatal", configFile},
		"test rules":   append([]string{"test", "rules"}, tests...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// It has all the time that the others wait.
			said, err := exec.Command("nice", append([]string{"-n", "19", "promtool"}, command...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			t.Logf("%s", bytes.TrimSpace(said))
		})
	}
}

func TestPromtoolAcceptsTheMetrics(t *testing.T) {
	t.Parallel()
	f := begin(t, "check", plan{replicas: 1})
	f.fetch(f.replicas[0], "anybody", "")
	text, err := f.replicas[0].scraped()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("promtool", "check", "metrics")
	command.Stdin = bytes.NewReader([]byte(text))
	if said, err := command.CombinedOutput(); err != nil || len(said) > 0 {
		t.Fatalf("%v\n%s", err, said)
	}
}
