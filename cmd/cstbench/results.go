package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// save leaves what was measured of an area in folder, for the report.
func save(folder, area string, figures any) error {
	text, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return fmt.Errorf("encode figures of %s: %w", area, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // figures are no secret
		return fmt.Errorf("make the folder of figures: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, area+".json"), append(text, '\n'), 0o644); err != nil { //nolint:gosec // likewise
		return fmt.Errorf("write figures of %s: %w", area, err)
	}
	return nil
}

// load reads what save left.
func load(folder, area string, figures any) error {
	text, err := os.ReadFile(filepath.Join(folder, area+".json"))
	if err != nil {
		return fmt.Errorf("read figures of %s: %w", area, err)
	}
	if err := json.Unmarshal(text, figures); err != nil {
		return fmt.Errorf("decode figures of %s: %w", area, err)
	}
	return nil
}
