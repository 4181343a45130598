package check

import (
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/deploy/check/manifest"
)

// edit is one mistake in what a case renders.
type edit struct {
	directory string
	old, new  string // old must occur; its first occurrence is replaced
	want      string
}

const (
	overlays   = "../kustomize/overlays/"
	oneVersion = "        image: ghcr.io/cstproxy/cstproxy:0.1.0\n"
)

// mistakes :: what was done → what must be found, and nothing else
var mistakes = map[string]edit{
	"the sidecar is gone": {
		"testdata/cases/job", "        name: cstproxy\n", "        name: other\n",
		"Job/report: it asks for cstproxy and has none",
	},
	"the sidecar is there twice": {
		"testdata/cases/job", "        name: app\n", "        name: cstproxy\n",
		"Job/report: cstproxy is there twice",
	},
	"another init container comes first": {
		"testdata/cases/job", "      initContainers:\n", "      initContainers:\n      - name: first\n        image: example.org/first\n",
		"Job/report: cstproxy is not the first init container: those before it can't use it",
	},
	"the sidecar is one that must end": {
		"testdata/cases/job", "        restartPolicy: Always\n", "",
		"Job/report: cstproxy has no restartPolicy Always: the pod would wait for it to end",
	},
	"a Job has a classic sidecar": {
		"testdata/cases/classic", "kind: Deployment\n", "kind: Job\n",
		"Job/backend: cstproxy is an ordinary container: the Job would never complete",
	},
	"a classic sidecar ends at once": {
		"testdata/cases/classic", "        - name: CSTPROXY_DRAIN_DELAY\n          value: 15s\n", "",
		"Deployment/backend: cstproxy has no CSTPROXY_DRAIN_DELAY: it ends while it is still asked",
	},
	"a classic sidecar is killed": {
		"testdata/cases/classic", "value: 15s\n", "value: 25s\n",
		"Deployment/backend: terminationGracePeriodSeconds ends before 25s and the drain",
	},
	"a hook runs before the end": {
		"testdata/cases/job", oneVersion, oneVersion + "        lifecycle: {preStop: {sleep: {seconds: 5}}}\n",
		"Job/report: cstproxy has a lifecycle hook, which is not in the order in which sidecars end",
	},
	"CPU is limited": {
		"testdata/cases/job", "          limits:\n            ephemeral-storage: 16Mi\n            memory: 64Mi\n",
		"          limits:\n            cpu: 100m\n            ephemeral-storage: 16Mi\n            memory: 64Mi\n",
		"Job/report: cstproxy has a limit of CPU",
	},
	"memory is promised and not there": {
		"testdata/cases/job", "            cpu: 50m\n            ephemeral-storage: 16Mi\n            memory: 64Mi\n",
		"            cpu: 50m\n            ephemeral-storage: 16Mi\n            memory: 32Mi\n",
		"Job/report: cstproxy does not request the memory that it is limited to",
	},
	"Go's limit is that of the container": {
		"testdata/cases/job", "value: 57MiB\n", "value: 64MiB\n",
		`Job/report: GOMEMLIMIT is "64MiB", want nine tenths of the limit: 57MiB`,
	},
	"a secret is in the environment": {
		"testdata/cases/job", "        env:\n", "        env:\n        - name: REDIS_PASSWORD\n          value: secret\n",
		"Job/report: REDIS_PASSWORD is a secret: mount it, and name its file",
	},
	"a secret is taken into the environment": {
		"testdata/cases/job", "        env:\n", "        env:\n        - name: CSTPROXY_KEY_PREFIX\n          valueFrom: {secretKeyRef: {name: cstproxy-redis, key: prefix}}\n",
		"Job/report: CSTPROXY_KEY_PREFIX comes from elsewhere (valueFrom), and would not change with it",
	},
	"all of a Secret is taken into the environment": {
		"testdata/cases/job", oneVersion, oneVersion + "        envFrom: [{secretRef: {name: cstproxy-portal}}]\n",
		"Job/report: cstproxy takes its environment from elsewhere (envFrom)",
	},
	"a file is where nothing is mounted": {
		"testdata/cases/job", "value: /run/secrets/cstproxy/redis/redis-url\n", "value: /run/secrets/redis-url\n",
		"Job/report: REDIS_URL_FILE names a file where nothing is mounted: /run/secrets/redis-url",
	},
	"a probe's port is misspelled": {
		"testdata/cases/job", "            path: /livez\n            port: cst-metrics\n", "            path: /livez\n            port: metrics\n",
		`Job/report: the probe of /livez asks port "metrics", which has no number`,
	},
	"a probe asks something else": {
		"testdata/cases/job", "path: /readyz\n", "path: /livez\n",
		"Job/report: no probe asks /readyz",
	},
	"a secret is mounted by subPath": {
		"testdata/cases/job", "        - mountPath: /run/secrets/cstproxy/redis\n", "        - mountPath: /run/secrets/cstproxy/redis\n          subPath: redis-url\n",
		"Job/report: cstproxy-redis is mounted by subPath: it would never change",
	},
	"everybody may read a secret": {
		"testdata/cases/job", "          defaultMode: 288\n", "          defaultMode: 292\n",
		"Job/report: cstproxy-portal has not the defaultMode 0440",
	},
	"a secret is mounted to be written": {
		"testdata/cases/job", "          name: cstproxy-portal\n          readOnly: true\n", "          name: cstproxy-portal\n",
		"Job/report: cstproxy-portal is not mounted readOnly",
	},
	"the root file system is writable": {
		"testdata/cases/job", "          readOnlyRootFilesystem: true\n          runAsGroup: 65532\n", "          runAsGroup: 65532\n",
		"Job/report: cstproxy may write to its root file system",
	},
	"the files have no group": {
		"testdata/cases/job", "        fsGroup: 65532\n", "",
		"Job/report: there is no fsGroup: cstproxy can't read its files",
	},
	"last words are lost": {
		"testdata/cases/job", "        terminationMessagePolicy: FallbackToLogsOnError\n", "",
		"Job/report: cstproxy does not leave its last words where it failed (terminationMessagePolicy)",
	},
	"the socket is on a disk": {
		"testdata/cases/socket", "          medium: Memory\n", "",
		"Deployment/backend: cstproxy-socket is not in memory, or has no sizeLimit",
	},
	"a Secret's name is misspelled": {
		overlays + "demo", "          secretName: cstproxy-portal\n", "          secretName: cstproxy-key\n",
		"Deployment/backend: Secret/cstproxy-key is not there",
	},
	"a service account's name is misspelled": {
		overlays + "demo", "      serviceAccountName: backend\n", "      serviceAccountName: back\n",
		"Deployment/backend: ServiceAccount/back is not there",
	},
	"a Service selects nothing": {
		overlays + "demo", "  selector:\n    app.kubernetes.io/name: redis\n", "  selector:\n    app.kubernetes.io/name: reddis\n",
		"Service/redis: it selects no pod",
	},
	"a Service's port is misspelled": {
		overlays + "demo", "    targetPort: redis\n", "    targetPort: reddis\n",
		"Service/redis: StatefulSet/redis has no port reddis",
	},
	"a disruption budget selects nothing": {
		"testdata/cases/fleet", "  maxUnavailable: 1\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: cstproxy\n",
		"  maxUnavailable: 1\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: fleet\n",
		"PodDisruptionBudget/cstproxy: it selects no pod",
	},
	"nobody is scraped": {
		"testdata/cases/monitoring", "    - key: cstproxy\n", "    - key: proxy\n",
		"PodMonitor/cstproxy: it selects no pod",
	},
	"the wrong port is scraped": {
		"testdata/cases/monitoring", "    port: cst-metrics\n    scrapeTimeout", "    port: https\n    scrapeTimeout",
		"PodMonitor/cstproxy: Deployment/backend has no port https",
	},
	"a policy selects nothing": {
		"testdata/cases/networkpolicy", "  podSelector:\n    matchLabels:\n      cstproxy: sidecar\n", "  podSelector:\n    matchLabels:\n      cstproxy: sidecars\n",
		"NetworkPolicy/cstproxy-sidecar: it selects no pod",
	},
	"a policy opens a port that nobody has": {
		"testdata/cases/networkpolicy", "    - port: 9090\n", "    - port: 9091\n",
		"NetworkPolicy/cstproxy-sidecar: Deployment/backend has no port 9091",
	},
	"a policy leads to a Redis that is not there": {
		"testdata/cases/networkpolicy", "    - podSelector:\n        matchLabels:\n          app.kubernetes.io/name: redis\n", "    - podSelector:\n        matchLabels:\n          app: redis\n",
		"NetworkPolicy/cstproxy-sidecar: a rule: it selects no pod",
	},
	"a policy leads to another port of Redis": {
		"testdata/cases/networkpolicy", "port: 6379\n      protocol: TCP\n    to:\n", "port: 6380\n      protocol: TCP\n    to:\n",
		"NetworkPolicy/cstproxy-sidecar: a rule: StatefulSet/redis has no port 6380",
	},
}

func TestFaultsFindEachMistake(t *testing.T) {
	for name, mistake := range mistakes {
		t.Run(name, func(t *testing.T) {
			before := string(build(t, mistake.directory))
			if !strings.Contains(before, mistake.old) {
				t.Fatalf("there is no %q to replace in %s", mistake.old, mistake.directory)
			}
			objects, err := manifest.Parse([]byte(strings.Replace(before, mistake.old, mistake.new, 1)))
			if err != nil {
				t.Fatal(err)
			}
			faults, err := objects.Faults()
			if err != nil || len(faults) != 1 || faults[0] != mistake.want {
				t.Errorf("got %q (%v), want %q alone", faults, err, mistake.want)
			}
		})
	}
}
