package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAdministratorsAreTold holds what -t says of files that administrators of OpenSSH have: what differs, and what to write instead.
func TestAdministratorsAreTold(t *testing.T) {
	paths, err := filepath.Glob("testdata/administrators/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("got the files %q, %v", paths, err)
	}
	for _, path := range paths {
		archive, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text, want, found := strings.Cut(string(archive), "-- says --\n")
		if !found {
			t.Fatalf("%s doesn't say what is said of it", path)
		}
		file := filepath.Join(t.TempDir(), filepath.Base(path))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		loaded, err := Load(file, nil)
		var got strings.Builder
		for _, w := range loaded.Warnings {
			got.WriteString(w.String() + map[bool]string{false: " (warning)\n", true: " (note)\n"}[w.Stock])
		}
		if err != nil {
			got.WriteString(err.Error() + "\n")
		}
		if said := strings.ReplaceAll(got.String(), filepath.Dir(file)+"/", ""); said != want {
			t.Errorf("%s: got\n%s\nwant\n%s", path, said, want)
		}
	}
}
