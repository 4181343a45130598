package manifest

import (
	"fmt"

	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// Refusal is why the admission plugin refuses the pods of a workload.
type Refusal struct {
	Workload string // kind/name
	Reason   string // as the plugin names it, such as "privileged"
	Detail   string
}

// Insecure returns what a namespace that enforces the latest version of Pod Security restricted would not admit, by the
// code of the admission plugin itself.
func Insecure(objects Objects) ([]Refusal, error) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, fmt.Errorf("read the checks of Pod Security: %w", err)
	}
	workloads, err := objects.Workloads()
	if err != nil {
		return nil, err
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	var refusals []Refusal
	for _, w := range workloads {
		results := evaluator.EvaluatePod(level, &w.Pod.ObjectMeta, &w.Pod.Spec)
		refusals = append(refusals, refused(w.GetKind()+"/"+w.GetName(), results)...)
	}
	return refusals, nil
}

func refused(workload string, results []policy.CheckResult) (refusals []Refusal) {
	for _, result := range results {
		if !result.Allowed {
			refusals = append(refusals, Refusal{Workload: workload, Reason: result.ForbiddenReason, Detail: result.ForbiddenDetail})
		}
	}
	return refusals
}
