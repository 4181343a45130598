package manifest

import (
	"errors"
	"fmt"

	"github.com/yannh/kubeconform/pkg/resource"
	"github.com/yannh/kubeconform/pkg/validator"
)

// Schemas are JSON schemas of the kinds that may occur.
type Schemas struct{ validator validator.Validator }

// OpenSchemas takes schemas from a place as kubeconform's -schema-location names it.
func OpenSchemas(location string) (Schemas, error) {
	v, err := validator.New([]string{location}, validator.Opts{Strict: true})
	if err != nil {
		return Schemas{}, fmt.Errorf("open the schemas: %w", err)
	}
	return Schemas{validator: v}, nil
}

// Check returns all that is in YAML documents and in no schema, or otherwise than it says. A kind without a schema is an
// error, and so is that there is nothing to check.
func (s Schemas) Check(documents []byte) error {
	parts, err := split(documents)
	if err != nil {
		return err
	}
	var faults []error
	for _, part := range parts {
		result := s.validator.ValidateResource(resource.Resource{Bytes: part})
		if result.Status != validator.Valid {
			faults = append(faults, fmt.Errorf("%s: %w", title(part), cause(result)))
		}
	}
	return errors.Join(faults...)
}

// cause is why a document is not valid.
func cause(result validator.Result) error {
	if result.Err == nil {
		return fmt.Errorf("not checked (status %d)", result.Status)
	}
	return result.Err
}
