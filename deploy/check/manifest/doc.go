// Package manifest checks Kubernetes manifests as a cluster would before it takes them, without one:
//
//   - [Build] renders a kustomization, as kubectl does;
//   - [Schemas] tells what the API server would not take, unknown fields included;
//   - [Insecure] tells what the admission of namespaces that enforce Pod Security restricted would refuse;
//   - [Objects.Faults] tells what no cluster refuses and this product's manifests must not have, such as a sidecar that
//     is not the first, a limit of memory that Go doesn't know of, or a selector that selects nothing.
package manifest
