package manifest

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// groupReads is the mode of files that the process's group may read and nobody else.
const groupReads = 0o440

// elsewhere lists what is mounted and comes from another hand: a person's, an operator's, the cluster's.
func elsewhere() []string {
	return []string{
		"Secret/cstproxy-portal", "Secret/cstproxy-redis", "Secret/cstproxy-tls", "Secret/redis",
		"ConfigMap/cstproxy-callers", "ConfigMap/kube-root-ca.crt",
	}
}

// mounts tells whether what the product's container mounts can change, and is for it alone.
func (w Workload) mounts(c corev1.Container) (faults []string) {
	if security := w.Pod.Spec.SecurityContext; security == nil || security.FSGroup == nil {
		faults = append(faults, "there is no fsGroup: cstproxy can't read its files")
	}
	if security := c.SecurityContext; security == nil || security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
		faults = append(faults, "cstproxy may write to its root file system")
	}
	for _, mount := range c.VolumeMounts {
		if mount.SubPath != "" || mount.SubPathExpr != "" {
			faults = append(faults, mount.Name+" is mounted by subPath: it would never change")
		}
		faults = append(faults, w.volume(mount)...)
	}
	return faults
}

func (w Workload) volume(mount corev1.VolumeMount) []string {
	at := slices.IndexFunc(w.Pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
	if at < 0 {
		return []string{mount.Name + " is mounted and no volume"}
	}
	volume := w.Pod.Spec.Volumes[at]
	if volume.EmptyDir != nil {
		return inMemory(volume)
	}
	var faults []string
	if !mount.ReadOnly {
		faults = append(faults, mount.Name+" is not mounted readOnly")
	}
	if mode := modeOf(volume); mode == nil || *mode != groupReads {
		faults = append(faults, mount.Name+" has not the defaultMode 0440")
	}
	return faults
}

func inMemory(volume corev1.Volume) []string {
	if volume.EmptyDir.Medium != corev1.StorageMediumMemory || volume.EmptyDir.SizeLimit == nil {
		return []string{volume.Name + " is not in memory, or has no sizeLimit"}
	}
	return nil
}

func modeOf(volume corev1.Volume) *int32 {
	switch {
	case volume.Secret != nil:
		return volume.Secret.DefaultMode
	case volume.ConfigMap != nil:
		return volume.ConfigMap.DefaultMode
	case volume.Projected != nil:
		return volume.Projected.DefaultMode
	}
	return nil
}

// references tells whether all that the pods name is there, or known to come from another hand.
func (w Workload) references(o Objects) (faults []string) {
	var wanted []string
	if account := w.Pod.Spec.ServiceAccountName; account != "" {
		wanted = append(wanted, "ServiceAccount/"+account)
	}
	for _, volume := range w.Pod.Spec.Volumes {
		wanted = append(wanted, sourcesOf(volume)...)
	}
	for _, name := range wanted {
		if !slices.Contains(elsewhere(), name) && !o.has(name) {
			faults = append(faults, fmt.Sprintf("%s is not there", name))
		}
	}
	return faults
}

func (o Objects) has(name string) bool {
	for _, object := range o {
		if object.GetKind()+"/"+object.GetName() == name {
			return true
		}
	}
	return false
}

// sourcesOf returns the kind/name of all that a volume is made of.
func sourcesOf(volume corev1.Volume) (names []string) {
	if volume.Secret != nil {
		names = append(names, "Secret/"+volume.Secret.SecretName)
	}
	if volume.ConfigMap != nil {
		names = append(names, "ConfigMap/"+volume.ConfigMap.Name)
	}
	if volume.Projected == nil {
		return names
	}
	for _, source := range volume.Projected.Sources {
		if source.Secret != nil {
			names = append(names, "Secret/"+source.Secret.Name)
		}
		if source.ConfigMap != nil {
			names = append(names, "ConfigMap/"+source.ConfigMap.Name)
		}
	}
	return names
}
